"""What `models` lists: the versions of MLflow's registry beside those that the home holds and serves."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.release_file import MODEL, ReleaseFile, store_path
from training.registry import CHAMPION, PRUNED, Version, is_same, versions
from training.stored import card_of, is_whole, stored_versions

UNKNOWN = "unknown"
UNREGISTERED = "not in the registry"
NOT_STORED = "not stored"


@dataclass(frozen=True)
class Row:
    """A version as `models` lists it.

    Attributes:
        version: its number; a registry that is not the one the home was trained with may give it a second time.
        created: when it was registered or trained, UTC.
        state: live, or why it cannot be served; empty for one that only waits.
        aliases: in the registry.
        verdict: of the gate.
        judged: on what.
        gain: over the best rule.
        data: synthetic, real or unknown.
    """

    version: str
    created: str = ""
    state: str = ""
    aliases: tuple[str, ...] = ()
    verdict: str = UNKNOWN
    judged: str = ""
    gain: str = ""
    data: str = UNKNOWN


def list_versions(home: Path, release: ReleaseFile | None) -> list[Row]:
    """Every version that MLflow's registry, the store or the release knows, newest first.

    Args:
        home: the home.
        release: what it serves.

    Raises:
        DataError: MLflow does not answer.
    """
    live, stored = None if release is None else release.model.split(":")[1], stored_versions(home)
    rows, left = [], dict.fromkeys(stored if live is None else [*stored, live])
    for version in versions(home):
        state = ["live"] if version.version == live and is_same(home, version) else []
        if is_same(home, version) and version.version in left:
            del left[version.version]
        if version.version not in stored or not is_same(home, version):
            state.append("pruned" if version.tags.get(PRUNED) == "true" else NOT_STORED)
        rows.append(_registered(version, ", ".join(state)))
    for number in left:
        state = [*(["live"] if number == live else []), *([] if number in stored else [NOT_STORED]), UNREGISTERED]
        rows.append(_stored(number, ", ".join(state), card_of(store_path(home, f"{MODEL}:{number}"))))
    return sorted(rows, key=lambda row: int(row.version) if row.version.isdecimal() else 0, reverse=True)


def remarks(home: Path, release: ReleaseFile, rows: list[Row]) -> list[str]:
    """What is served, in a sentence, and what people should know of it."""
    gone = [tag for tag in (release.model, release.catalogue) if not is_whole(store_path(home, tag))]
    said = [f"Served: {release.model} with {release.catalogue}"]
    if gone:
        verb = "is" if len(gone) == 1 else "are"
        said = [
            f"{' and '.join(gone)} {verb} named by release.json but not stored: a server that runs answers on, none "
            "can be started. Train again, or promote a version that is stored"
        ]
    live = release.model.split(":")[1]
    for row in rows:
        if CHAMPION in row.aliases and not row.state.startswith("live"):
            said.append(
                f"The alias {CHAMPION} names version {row.version}, but version {live} is served: "
                f"`influencer-roi promote {live}` corrects that"
            )
    return said


def _registered(version: Version, state: str) -> Row:
    tags = version.tags
    data = {"true": "synthetic", "false": "real"}.get(tags.get("synthetic", ""), UNKNOWN)
    return Row(
        version.version, version.created, state, version.aliases, tags.get("verdict", UNKNOWN), tags.get("judged", ""),
        tags.get("gain_over_best_rule", ""), data,
    )  # fmt: skip


def _stored(version: str, state: str, card: Mapping[str, Any]) -> Row:
    """A version of which only its card tells."""
    try:
        metrics = card["metrics"]
        gain = metrics["gain_over_best_rule"]["gain"] if metrics["judged"] else None
        return Row(
            version,
            created=card["trained_at"][:16].replace("T", " "),
            state=state,
            verdict="promote" if card["verdict"]["promote"] else "do not promote",
            judged=metrics["judged"] or "nothing",
            gain="" if gain is None else f"{gain:.4f}",
            data="synthetic" if card["synthetic"] else "real",
        )
    except (KeyError, TypeError):
        return Row(version, state=state)  # there is no card, or one of an earlier program
