"""The record of experiments: runs, registered versions and aliases in MLflow.

The store is the home's own (`mlflow/mlflow.db`, artifacts beside it) unless MLFLOW_TRACKING_URI names another.
MLflow is imported on first use: it is slow, and only training needs it.
"""

import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from features.errors import DataError
from features.matrix import NAMES
from serving.model import Model
from serving.release_file import read_release_file
from serving.stage import Matrix
from training.home_lock import locked

TRACKING = "MLFLOW_TRACKING_URI"
EXPERIMENT = "influencer-roi"
REGISTERED = "influencer-roi"
CHAMPION, CHALLENGER = "champion", "challenger"
ABOUT = (
    "Champion is the version that is served, challenger the newest other one. `influencer-roi promote VERSION` and "
    "`rollback` change what is served; moving an alias by hand does not."
)
REMEDIES = {
    "database is locked": "Another program holds it: wait for its end",
    "disk is full": "Free space, for example with `influencer-roi prune`",
    "No space left": "Free space, for example with `influencer-roi prune`",
    "No module named": "Install this driver of the database",
}
PRUNED = "pruned"  # tag of versions, runs and logged models whose files `prune` deleted


@dataclass(frozen=True)
class ModelRecord:
    """A model to register: its artefact folder, rows of features to show its signature on, and the gate's verdict."""

    model: Model
    folder: Path
    sample: Matrix
    verdict: str


@dataclass(frozen=True)
class ChildRecord:
    """A run nested in another: a trial of the tuning."""

    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class RunRecord:
    """Everything one run leaves for its reviewers; a backtest registers no model."""

    name: str
    description: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    texts: Mapping[str, str]
    dicts: Mapping[str, Any]
    tables: Mapping[str, pl.DataFrame]
    figures: Mapping[str, Any]
    datasets: Mapping[str, tuple[pl.DataFrame, str]]
    model: ModelRecord | None = None
    children: tuple[ChildRecord, ...] = ()


@dataclass(frozen=True)
class Version:
    """A registered version as `models` lists it."""

    version: str
    created: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)


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
            if not uri.startswith(("http", "sqlite")):
                _try_database(uri)
            with _one_at_a_time(home):
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
    remedy = next((words for cause, words in REMEDIES.items() if cause in first), "Check that it is reachable")
    return f"MLflow at {plain} failed: {first}. {remedy}, then run again"


def _try_database(uri: str) -> None:
    """Connect once: MLflow tries for two minutes, and does not name a driver that is missing."""
    from sqlalchemy import create_engine

    engine = create_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def _one_at_a_time(home: Path) -> AbstractContextManager[None]:
    """One process of this home at a time creates or migrates the store, registers a version, or moves an alias."""
    return locked(home / "mlflow" / ".lock")


def _ensure_experiment(mlflow: Any, home: Path, *, local: bool) -> None:
    if mlflow.get_experiment_by_name(EXPERIMENT) is None:
        location = (home / "mlflow" / "artifacts").resolve().as_uri() if local else None
        mlflow.create_experiment(EXPERIMENT, artifact_location=location, tags={"mlflow.note.content": ABOUT})
    mlflow.set_experiment(EXPERIMENT)


def is_own() -> bool:
    """Whether runs are recorded in the home itself, not on a server that others may use too."""
    return not os.environ.get(TRACKING)


def recorded(home: Path) -> bool:
    """Whether there can be any run: False in a home that never recorded one."""
    return not is_own() or (home / "mlflow" / "mlflow.db").exists()


def prepare(home: Path) -> str:
    """Create or migrate the store once, before anything else writes to it; returns the experiment's id.

    Raises:
        DataError: the store does not answer.
    """
    with connected(home) as mlflow:
        return str(mlflow.get_experiment_by_name(EXPERIMENT).experiment_id)


def log_run(home: Path, record: RunRecord) -> tuple[str | None, str]:
    """Record a run, and register its model if it has one.

    Returns:
        The registered version, or None, and the run's id.
    """
    with connected(home) as mlflow, mlflow.start_run(run_name=record.name, description=record.description) as run:
        # else MLflow names the path of the program on this machine
        mlflow.set_tags({**record.tags, "mlflow.source.name": "influencer-roi"})
        mlflow.log_params(dict(record.params))
        mlflow.log_metrics(dict(record.metrics))
        for name, (frame, source) in record.datasets.items():
            dataset = mlflow.data.from_pandas(frame.to_pandas(), source=source, name=name)
            _log_input(mlflow, dataset, name)
        for name, text in record.texts.items():
            mlflow.log_text(text, name)
        for name, data in record.dicts.items():
            mlflow.log_dict(data, name)
        for name, frame in record.tables.items():
            mlflow.log_table(frame.to_pandas(), f"tables/{name}.json")
            mlflow.log_text(frame.write_csv(), f"tables/{name}.csv")
        for name, figure in record.figures.items():
            mlflow.log_figure(figure, f"plots/{name}.png")
        for child in record.children:
            with mlflow.start_run(run_name=child.name, nested=True):
                mlflow.set_tags(dict(child.tags))
                mlflow.log_params(dict(child.params))
                mlflow.log_metrics(dict(child.metrics))
        run_id = str(run.info.run_id)
        return None if record.model is None else _register(mlflow, home, record.model, run_id, record.tags), run_id


def _log_input(mlflow: Any, dataset: Any, context: str) -> None:
    """MLflow looks for a data set and then inserts it: of two runs that do so at once one is refused, at first."""
    try:
        mlflow.log_input(dataset, context=context)
    except mlflow.exceptions.MlflowException:
        mlflow.log_input(dataset, context=context)


def _register(mlflow: Any, home: Path, record: ModelRecord, run_id: str, tags: Mapping[str, str]) -> str:
    import pandas as pd

    sample = pd.DataFrame(record.sample, columns=list(NAMES))
    expected = record.model.expected(record.sample)
    output = pd.DataFrame({name: values for name, values in expected.items() if name != "one"})
    root = Path(__file__).resolve().parent.parent
    info = mlflow.pyfunc.log_model(
        name="model",
        python_model=str(Path(__file__).with_name("mlflow_model.py")),
        artifacts={"model": str(record.folder)},
        code_paths=[str(root / "features"), str(root / "serving")],
        signature=mlflow.models.infer_signature(sample, output),
        pip_requirements=["lightgbm", "numpy", "polars", "pydantic", "pycountry"],
    )
    client = mlflow.MlflowClient()
    with _one_at_a_time(home):
        if not client.search_registered_models(f"name = '{REGISTERED}'"):
            client.create_registered_model(REGISTERED, description=ABOUT)
        registered = client.create_model_version(REGISTERED, info.model_uri, run_id=run_id, model_id=info.model_id)
        version = str(registered.version)
        client.set_registered_model_alias(REGISTERED, CHALLENGER, version)
    client.update_model_version(REGISTERED, version, description=record.verdict)
    for key, value in tags.items():
        client.set_model_version_tag(REGISTERED, version, key, value)
    return version


def set_champion(home: Path) -> None:
    """Let the alias `champion` name the version in force: the one that is now, whoever published it."""
    with connected(home) as mlflow, _one_at_a_time(home):
        release = read_release_file(home)
        if release is None:
            return
        version = release.model.split(":")[1]
        client = mlflow.MlflowClient()
        client.set_registered_model_alias(REGISTERED, CHAMPION, version)
        aliases = client.get_registered_model(REGISTERED).aliases
        if str(aliases.get(CHALLENGER)) == version:
            client.delete_registered_model_alias(REGISTERED, CHALLENGER)


def versions(home: Path) -> list[Version]:
    """Registered versions, newest first; none where nothing was trained yet."""
    if not recorded(home):
        return []
    with connected(home) as mlflow:
        from datetime import UTC, datetime

        client = mlflow.MlflowClient()
        found = client.search_model_versions(f"name = '{REGISTERED}'")
        if not found:
            return []
        # search returns no aliases (mlflow#16734)
        aliases = client.get_registered_model(REGISTERED).aliases
        listed = [
            Version(
                version=str(v.version),
                created=datetime.fromtimestamp(v.creation_timestamp / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
                aliases=tuple(sorted(name for name, number in aliases.items() if str(number) == str(v.version))),
                tags=dict(v.tags),
            )
            for v in found
        ]
        return sorted(listed, key=lambda v: -int(v.version))


def was_pruned(home: Path, version: str) -> bool:
    """Whether `prune` deleted the files of a version, as far as MLflow can be asked."""
    try:
        return any(v.version == version and v.tags.get(PRUNED) == "true" for v in versions(home))
    except DataError:
        return False
