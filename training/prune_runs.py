"""The part of `prune` that concerns MLflow: which runs lose their files, and how.

Parameters, metrics and tags stay, so that runs stay comparable; what was emptied is tagged `pruned: true`. Files go
through MLflow's artefact repositories, which know every kind of store; `mlflow gc` would take the runs away as well.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from training import mlflow_store, registry
from training.mlflow_store import EXPERIMENT
from training.registry import PRUNED, REGISTERED

DAY_SECONDS = 86_400.0
PAGE = 500


@dataclass(frozen=True)
class Run:
    """A run whose files go.

    Attributes:
        run_id: its id.
        name: for people.
        locations: addresses of its files, and of those of the models it logged.
        models: ids of these models.
        versions: registered of it.
        bytes: of all its files.
    """

    run_id: str
    name: str
    locations: tuple[str, ...]
    models: tuple[str, ...]
    versions: tuple[str, ...]
    bytes: int


@dataclass(frozen=True)
class Runs:
    """What is to be emptied, and what is left alone for a reason worth telling."""

    runs: tuple[Run, ...] = ()
    notes: tuple[str, ...] = ()


def aliased(home: Path) -> set[str]:
    """Versions with the alias champion or challenger."""
    return {version.version for version in registry.versions(home) if version.aliases}


def to_empty(home: Path, keep: int, pruned: Mapping[str, str], stored: set[str]) -> Runs:
    """The runs whose files are to go.

    Of a tracking server, which others may use too, only the runs of versions that leave this home's store. Of the
    home's own record also those of versions that never came to be stored, and those that registered none; of each
    kind the newest stay, and so does all that is younger than a day and may still be at work.

    Args:
        home: the home.
        keep: how many of the newest stay.
        pruned: versions that leave the store, and the run of each.
        stored: versions that stay.

    Raises:
        DataError: MLflow does not answer.
    """
    if not mlflow_store.recorded(home):
        return Runs()
    with mlflow_store.connected(home) as mlflow:
        client = mlflow.MlflowClient()
        experiment = str(client.get_experiment_by_name(EXPERIMENT).experiment_id)
        versions = _pages(client.search_model_versions, f"name = '{REGISTERED}'")
        # a number alone may be another version's, on a server that the home did not always use
        wanted = {v.run_id: str(v.version) for v in versions if pruned.get(str(v.version)) == v.run_id}
        runs = {run.info.run_id: run for run in _pages(client.search_runs, [experiment])}
        if mlflow_store.is_own():
            with_alias = aliased(home)
            newest = sorted(versions, key=lambda v: int(v.version))[-keep:]
            wanted |= {
                v.run_id: str(v.version)
                for v in versions
                if str(v.version) not in stored | with_alias and v not in newest and _old(v.creation_timestamp)
            }
            wanted |= dict.fromkeys(_without_version(runs, {v.run_id for v in versions}, keep), "")
        found, elsewhere = [], 0
        for run_id, version in wanted.items():
            if run_id not in runs or runs[run_id].data.tags.get(PRUNED) == "true":
                continue
            run = _run(mlflow, client, runs[run_id], experiment, version)
            if mlflow_store.is_own() and not all(_within(home, location) for location in run.locations):
                elsewhere += 1
                continue
            found.append(run)
        note = f"The files of {elsewhere} MLflow runs lie outside {home}, which was copied or moved: left alone."
        return Runs(tuple(found), (note,) if elsewhere else ())


def empty(home: Path, runs: Runs) -> None:
    """Delete the files of runs, then tag what they belonged to; what is tagged is not looked at again.

    Raises:
        DataError: MLflow does not answer.
    """
    if not runs.runs:
        return
    with mlflow_store.connected(home) as mlflow:
        client = mlflow.MlflowClient()
        for run in runs.runs:
            for location in run.locations:
                _repository(mlflow, location).delete_artifacts()
            for version in run.versions:
                client.set_model_version_tag(REGISTERED, version, PRUNED, "true")
            for model in run.models:
                client.set_logged_model_tags(model, {PRUNED: "true"})
            client.set_tag(run.run_id, PRUNED, "true")


def _without_version(runs: Mapping[str, Any], registered: set[str], keep: int) -> list[str]:
    """Runs that registered nothing, beyond the newest of each kind."""
    by_kind: dict[str, list[Any]] = {}
    for run in runs.values():
        nested = "mlflow.parentRunId" in run.data.tags
        at_work = run.info.status == "RUNNING" and not _old(run.info.start_time)
        if run.info.run_id not in registered and not nested and not at_work:
            by_kind.setdefault(run.data.tags.get("kind", ""), []).append(run)
    newest_first = (sorted(group, key=lambda run: -run.info.start_time) for group in by_kind.values())
    return [run.info.run_id for group in newest_first for run in group[keep:]]


def _run(mlflow: Any, client: Any, run: Any, experiment: str, version: str) -> Run:
    run_id = run.info.run_id
    models = _pages(client.search_logged_models, [experiment], f"source_run_id = '{run_id}'")
    locations = (run.info.artifact_uri, *(model.artifact_location for model in models))
    held = sum(_bytes(_repository(mlflow, location)) for location in locations)
    name = f"{run.info.run_name} ({run_id[:8]})"
    return Run(run_id, name, locations, tuple(m.model_id for m in models), (version,) if version else (), held)


def _repository(mlflow: Any, location: str) -> Any:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(location, tracking_uri=mlflow.get_tracking_uri())


def _bytes(repository: Any, path: str | None = None) -> int:
    listed = repository.list_artifacts(path)
    return sum(_bytes(repository, item.path) if item.is_dir else item.file_size or 0 for item in listed)


def _within(home: Path, location: str) -> bool:
    """Whether files lie in this home: its record names their place in full, a copy of it those of the original."""
    address = urlparse(location)
    return address.scheme == "file" and Path(unquote(address.path)).resolve().is_relative_to(home.resolve())


def _old(milliseconds: float) -> bool:
    return milliseconds / 1000 < time.time() - DAY_SECONDS


def _pages(search: Any, *words: Any) -> list[Any]:
    """All that a search of MLflow finds."""
    found, token = [], None
    while True:
        page = search(*words, max_results=PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found
