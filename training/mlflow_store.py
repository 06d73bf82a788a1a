"""Where runs are recorded: the home's own MLflow store, or the one that MLFLOW_TRACKING_URI names.

The home's own is `mlflow/mlflow.db`, artifacts beside it. MLflow is imported on first use: it is slow, and only
training needs it.
"""

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from features.errors import DataError
from training.home_lock import locked

TRACKING = "MLFLOW_TRACKING_URI"
EXPERIMENT = "influencer-roi"
ABOUT = (
    "Champion is the version that is served, challenger the newest other one that the home keeps. `influencer-roi "
    "promote VERSION` and `rollback` change what is served; moving an alias by hand does not."
)
RESTORE = "restore it from a backup, or move it away (what is lost then is the history of runs, not what is served)"
DAMAGED = f"The file is damaged: {RESTORE}"
REMEDIES = {
    "database is locked": "Another program holds it: wait for its end",
    "disk is full": "Free space, for example with `influencer-roi prune`",
    "No space left": "Free space, for example with `influencer-roi prune`",
    "No module named": "Install this driver of the database",
    "file is not a database": DAMAGED,
    "disk image is malformed": DAMAGED,
}


def tracking_uri(home: Path) -> str:
    """Where runs are recorded."""
    return os.environ.get(TRACKING) or f"sqlite:///{(home / 'mlflow' / 'mlflow.db').resolve()}"


@contextmanager
def connected(home: Path) -> Iterator[Any]:
    """MLflow connected to the home's store, quiet, and reporting to nobody.

    Raises:
        DataError: the store does not answer.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    # drawn over the lines of progress, wherever tqdm (which Optuna needs) is installed
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    given, uri = os.environ.get(TRACKING) or None, tracking_uri(home)
    if uri.startswith("http"):
        # a server that is not there should say so in seconds, not minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow

        for noisy in ("alembic", "mlflow", "mlflow.tracking._model_registry.client"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        (home / "mlflow").mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        from sqlalchemy.exc import SQLAlchemyError

        try:
            if not uri.startswith("http"):
                _try_database(uri)
            with one_at_a_time(home):
                # a server keeps artifacts where it was told to; a database cannot, so they are kept in the home
                _ensure_experiment(mlflow, home, local=not uri.startswith("http"))
            yield mlflow
        except (mlflow.exceptions.MlflowException, SQLAlchemyError, OSError, ModuleNotFoundError) as error:
            raise DataError(failure(uri, error)) from error
        finally:
            # MLflow writes the address into the environment, where it would pass for the user's own choice
            if given is None:
                os.environ.pop(TRACKING, None)


def failure(uri: str, error: Exception) -> str:
    """What to tell of a store that failed: its address without a password, the first line of the reason, what to do.

    >>> failure("http://me:secret@host:5000", OSError("no answer from http://me:secret@host:5000"))
    'MLflow at http://host:5000 failed: no answer from http://host:5000. Check that it is reachable, then run again'
    """
    plain = re.sub(r"//[^/@]*@", "//", uri)
    first = str(error).strip().partition("\n")[0].replace(uri, plain)[:300]
    usual = "Check that it is reachable"
    if uri.startswith("sqlite"):
        usual = f"Check that it is a file that can be read and written; where it is damaged, {RESTORE}"
    remedy = next((words for cause, words in REMEDIES.items() if cause in first), usual)
    return f"MLflow at {plain} failed: {first}. {remedy}, then run again"


def one_at_a_time(home: Path) -> AbstractContextManager[None]:
    """One process of this home at a time creates or migrates the store, registers a version, or moves an alias."""
    return locked(home / "mlflow" / ".lock")


def is_own() -> bool:
    """Whether runs are recorded in the home itself, not on a server that others may use too."""
    return not os.environ.get(TRACKING)


def recorded(home: Path) -> bool:
    """Whether there can be any run: False in a home that never recorded one, or lost its record."""
    return not is_own() or (home / "mlflow" / "mlflow.db").exists()


def prepare(home: Path) -> str:
    """Create or migrate the store once, before anything else writes to it; returns the experiment's id.

    Raises:
        DataError: the store does not answer.
    """
    with connected(home) as mlflow:
        return str(mlflow.get_experiment_by_name(EXPERIMENT).experiment_id)


def _try_database(uri: str) -> None:
    """Connect once: MLflow tries for two minutes, and does not name a driver that is missing."""
    from sqlalchemy import create_engine

    engine = create_engine(uri)
    if engine.dialect.name == "sqlite" and not Path(engine.url.database or "").exists():
        return  # MLflow makes it, and the folder it is to lie in
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def _ensure_experiment(mlflow: Any, home: Path, *, local: bool) -> None:
    if mlflow.get_experiment_by_name(EXPERIMENT) is None:
        location = (home / "mlflow" / "artifacts").resolve().as_uri() if local else None
        mlflow.create_experiment(EXPERIMENT, artifact_location=location, tags={"mlflow.note.content": ABOUT})
    mlflow.set_experiment(EXPERIMENT)
