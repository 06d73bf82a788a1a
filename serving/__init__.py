"""The model and the catalogue as artefacts, ranking, and the HTTP service."""
