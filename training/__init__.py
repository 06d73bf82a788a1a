"""Fitting, judging and publishing models, and the command line."""
