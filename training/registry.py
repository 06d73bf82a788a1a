"""Registered versions and their aliases in MLflow's registry, which numbers them.

What is served lies in the home's own store (`training.stored`); the registry is the record of it, and may be lost or
replaced. So a number alone does not say that both mean the same version: the run that made it does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from features.errors import DataError
from features.matrix import NAMES
from serving.model import Model
from serving.release_file import MODEL, read_release_file, store_path
from serving.stage import Matrix
from training.mlflow_store import ABOUT, connected, one_at_a_time, recorded
from training.stored import label_of, newest_number, stored_versions

REGISTERED = "influencer-roi"
CHAMPION, CHALLENGER = "champion", "challenger"
PRUNED = "pruned"  # tag of versions, runs and logged models whose files `prune` deleted

Say = Callable[[str], None]


@dataclass(frozen=True)
class ModelRecord:
    """A model to register: its artefact folder, rows of features to show its signature on, and the gate's verdict."""

    model: Model
    folder: Path
    sample: Matrix
    verdict: str


@dataclass(frozen=True)
class Version:
    """A registered version."""

    version: str
    run_id: str
    created: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)


def register(
    mlflow: Any, home: Path, record: ModelRecord, run_id: str, tags: Mapping[str, str], say: Say = lambda _: None
) -> str:
    """Log the model of the run that is under way, and register it with its tags in one step; returns its version.

    The version is above all that the home holds, also where MLflow's record of these was lost; that is said.
    """
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
    with one_at_a_time(home):
        if not client.search_registered_models(f"name = '{REGISTERED}'"):
            client.create_registered_model(REGISTERED, description=ABOUT)
        _skip_numbers(client, info.model_uri, newest_number(home), say)
        registered = client.create_model_version(
            REGISTERED, info.model_uri, run_id=run_id, tags=dict(tags), description=record.verdict,
            model_id=info.model_id,
        )  # fmt: skip
    return str(registered.version)


def set_aliases(home: Path) -> None:
    """Let `champion` name the version in force, whoever published it, and `challenger` the newest other stored one.

    Raises:
        DataError: MLflow does not answer, or release.json is broken.
    """
    if not recorded(home):
        return
    with connected(home) as mlflow, one_at_a_time(home):
        client = mlflow.MlflowClient()
        if not client.search_registered_models(f"name = '{REGISTERED}'"):
            return
        release, stored = read_release_file(home), set(stored_versions(home))
        live = None if release is None else release.model.split(":")[1]
        known = {v.version: v for v in _versions(client) if is_same(home, v)}
        others = [int(number) for number in known if number in stored and number != live]
        wanted = {CHAMPION: live if live in known else None, CHALLENGER: str(max(others)) if others else None}
        named = client.get_registered_model(REGISTERED).aliases
        for alias, version in wanted.items():
            if version is not None and str(named.get(alias)) != version:
                client.set_registered_model_alias(REGISTERED, alias, version)
            elif version is None and alias in named:
                client.delete_registered_model_alias(REGISTERED, alias)


def is_same(home: Path, version: Version) -> bool:
    """Whether the home holds nothing else under the number of a registered version."""
    return label_of(store_path(home, f"{MODEL}:{version.version}"), "run_id") in (None, version.run_id)


def versions(home: Path) -> list[Version]:
    """Registered versions, newest first; none where nothing was trained yet.

    Raises:
        DataError: MLflow does not answer.
    """
    if not recorded(home):
        return []
    with connected(home) as mlflow:
        return _versions(mlflow.MlflowClient())


def was_pruned(home: Path, version: str) -> bool:
    """Whether `prune` deleted the files of a version, as far as MLflow can be asked."""
    try:
        return any(v.version == version and v.tags.get(PRUNED) == "true" for v in versions(home))
    except DataError:
        return False


def _versions(client: Any) -> list[Version]:
    found = client.search_model_versions(f"name = '{REGISTERED}'")
    if not found:
        return []
    # search returns no aliases (mlflow#16734)
    aliases = client.get_registered_model(REGISTERED).aliases
    listed = [
        Version(
            version=str(v.version),
            run_id=str(v.run_id),
            created=datetime.fromtimestamp(v.creation_timestamp / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
            aliases=tuple(sorted(name for name, number in aliases.items() if str(number) == str(v.version))),
            tags=dict(v.tags),
        )
        for v in found
    ]
    return sorted(listed, key=lambda v: -int(v.version))


def _skip_numbers(client: Any, source: str, held: int, say: Say) -> None:
    """Use up the numbers to `held`, where MLflow does not know that version: it counts, and re-uses no number."""
    if held <= max((int(v.version) for v in client.search_model_versions(f"name = '{REGISTERED}'")), default=0):
        return
    say(
        f"warning: MLflow does not know version {held} of this home, so this is not the record of its earlier "
        "trainings: numbers go on after it"
    )
    for _ in range(held):
        number = str(client.create_model_version(REGISTERED, source).version)
        client.delete_model_version(REGISTERED, number)
        if int(number) >= held:
            return
