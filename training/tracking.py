"""The record of experiments: what a run leaves in MLflow for its reviewers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from training.mlflow_store import connected
from training.registry import ModelRecord, Say, register

SOURCE = {"mlflow.source.name": "influencer-roi"}  # else MLflow names the path of the program on this machine


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


def log_run(home: Path, record: RunRecord, say: Say = lambda _: None) -> tuple[str | None, str]:
    """Record a run, and register its model if it has one.

    Args:
        home: the home.
        record: the run.
        say: told what people should know of its registering.

    Returns:
        The registered version, or None, and the run's id.

    Raises:
        DataError: MLflow does not answer.
    """
    with connected(home) as mlflow, mlflow.start_run(run_name=record.name, description=record.description) as run:
        mlflow.set_tags({**record.tags, **SOURCE})
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
                mlflow.set_tags({**child.tags, **SOURCE})
                mlflow.log_params(dict(child.params))
                mlflow.log_metrics(dict(child.metrics))
        run_id = str(run.info.run_id)
        return None if record.model is None else register(mlflow, home, record.model, run_id, record.tags, say), run_id


def _log_input(mlflow: Any, dataset: Any, context: str) -> None:
    """MLflow looks for a data set and then inserts it: of two runs that do so at once one is refused, at first."""
    try:
        mlflow.log_input(dataset, context=context)
    except mlflow.exceptions.MlflowException:
        mlflow.log_input(dataset, context=context)
