"""`influencer-roi monitor`: whether new data still look like those the served model was taught, and what it promised
came true."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np

from features.errors import DataError
from features.market import Market
from serving.release import load_release
from serving.release_file import MODEL, store_path
from serving.slate_reader import Slates, read_slates
from serving.stage import Floats
from training import tracking
from training.dataset import build_dataset
from training.drift import read_reference
from training.monitor_picks import promised_by_slates, why_none
from training.monitor_report import Monitored, monitor_record
from training.monitor_rows import look, watched
from training.run_record import RECORDED
from training.source import load
from training.split import day_number, iso

Say = Callable[[str], None]


def monitor(folder: Path, home: Path, as_of: date | None = None, say: Say = lambda _: None) -> Monitored:
    """Compare data with what the served model was taught, and what settled with what it promised; record it.

    Args:
        folder: the tables.
        home: whose release is watched, and whose slate log tells past picks.
        as_of: look as if on this day; default: the day after the newest fact.
        say: told what is being done, and if MLflow does not answer, which stops nothing.

    Raises:
        NoRelease: nothing is served yet.
        CheckFailed: the data have errors.
        DataError: the release has nothing to compare with, or the data cannot be used: they are in another currency,
            nothing in them is newer than the model, or they are a bucketed folder.
    """
    model = load_release(home).model
    reference = read_reference(store_path(home, f"{MODEL}:{model.version}"))
    learnt_before = day_number(date.fromisoformat(model.card["as_of"]))
    slates = read_slates(home)
    say(f"checking {folder}")
    # what was promised was reckoned by the settings of that day
    loaded = load(folder, model.settings, as_of)
    _require_comparable(loaded.market, model.basis.currency, learnt_before, loaded.as_of, model.version)
    say(f"comparing with version {model.version}, trained as of {iso(learnt_before)}")
    picked = promised_by_slates(loaded.market, slates.picks)
    snapshots = loaded.tables.creator_snapshots
    seen = watched(build_dataset(loaded.market), model, picked, learnt_before, snapshots)
    found = Monitored(
        folder=folder,
        version=model.version,
        learnt_before=learnt_before,
        as_of=loaded.as_of,
        synthetic=bool(model.card["synthetic"]),
        rows=tuple(look(seen, reference, loaded.as_of)),
        notes=_notes(slates, loaded.market, picked),
    )
    say("logging to MLflow")
    tables = loaded.tables.by_name()
    recorded = {name: tables[name].select(columns) for name, columns in RECORDED.items()}
    try:
        tracking.log_run(home, monitor_record(found, recorded))
    except (DataError, OSError) as error:
        say(f"warning: this look is not recorded: {error}")
    return found


def _require_comparable(market: Market, currency: str, learnt_before: int, as_of: int, version: str) -> None:
    if market.basis.currency != currency:
        raise DataError(
            f"the data are in {market.basis.currency}, the served model in {currency}: they cannot be compared; give "
            "data in its currency, or train again"
        )
    p = market.placements
    newer = (p.agreed < as_of) & ((p.agreed >= learnt_before) | ((p.settled >= learnt_before) & (p.settled < as_of)))
    if as_of <= learnt_before or not newer.any():
        raise DataError(
            f"nothing is newer than the model: version {version} was trained as of {iso(learnt_before)}, and the data "
            f"are seen as of {iso(as_of)}. Bring placements that were agreed or settled since, or leave out --as-of"
        )


def _notes(slates: Slates, market: Market, picked: Floats) -> tuple[str, ...]:
    found = int(np.isfinite(picked).sum())
    if slates.picks.is_empty():
        said = (
            "The slate log is empty, so past picks cannot be judged: it fills as the service answers POST /v1/rank; "
            "give briefs the campaign_id of their bookings as brief_id."
        )
    elif found:
        said = f"Past picks: {found} placements were booked from answers in the slate log."
    else:
        said = f"Past picks cannot be judged. {why_none(market, slates.picks)}"
    return (said,) if slates.warning is None else (said, f"Warning: {slates.warning}.")
