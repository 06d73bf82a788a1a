"""Real spend and revenue of an advertiser, day by day: June's return on each row and each cell."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from benchmarks.real_compare import DRAWS, MODEL, Comparison, Floats, Ints, Table, compare, comparison_table, spearman
from features.settings import Settings, ValueSettings
from training.backtest import outcome, predict
from training.dataset import Dataset, build_dataset
from training.funnel_fit import fit_model
from training.source import load
from training.stage_fit import FitOptions

SEEDS = (0, 1, 2)
OPENS = date(2020, 6, 1)
FLOOR = 0.01
DEFAULT_FLOOR = 1.0
REFERENCE = "Reference figures of the data set, by row: publisher mean .05, cell history .44, LightGBM .72."


@dataclass(frozen=True)
class AdsResult:
    """ROI of June by row and by cell, and what the default cost floor would hide."""

    by_row: Comparison
    by_cell: Comparison
    trained: int
    cost: Floats
    revenue: Floats
    june: Ints


@dataclass(frozen=True)
class _History:
    """Past rows of a key (cell or publisher), sorted by key and day settled, with running sums."""

    key: Ints
    settled: Ints
    roas: Floats

    def mean(self, key: Ints, day: Ints) -> Floats:
        """Mean return of the rows of each key settled before each day; NaN without any."""
        out = np.full(len(key), np.nan)
        for k in np.unique(key):
            mine = self.key == k
            order = np.argsort(self.settled[mine], kind="stable")
            days, sums = self.settled[mine][order], np.concatenate([[0.0], np.cumsum(self.roas[mine][order])])
            asked = key == k
            count = np.searchsorted(days, day[asked], side="left")
            out[asked] = np.where(count > 0, sums[count] / np.maximum(count, 1), np.nan)
        return out


def judge(folder: Path, seeds: Iterable[int] = SEEDS, draws: int = DRAWS // 2) -> AdsResult:
    """Train on rows settled before 1 June 2020 and judge June."""
    loaded = load(folder, Settings(value=ValueSettings(cost_floor=FLOOR)), OPENS)
    market, data = loaded.market, build_dataset(loaded.market)
    p = market.placements
    train, june = np.flatnonzero(p.settled < loaded.as_of), np.flatnonzero(p.agreed >= loaded.as_of)
    models = [fit_model(market, data.x[train], data.labels.part(train), FitOptions(seed=seed)) for seed in seeds]
    predicted = [predict(data, model, june, "value") for model in models]
    cost, revenue = np.maximum(p.cost, FLOOR), outcome(data, "value")
    cell = _cells(data)
    opened, daily = np.full(len(june), loaded.as_of), p.agreed[june]
    by_cell = _History(cell, p.settled, revenue / cost)
    by_publisher = _History(p.creator, p.settled, revenue / cost)

    def rule(history: _History, key: Ints, day: Ints) -> Floats:
        found = history.mean(key, day)
        return np.where(np.isnan(found), by_publisher.mean(p.creator[june], day), found)

    spent = cost[june]
    rules = {
        "publisher mean on 1 June": rule(by_publisher, p.creator[june], opened),
        "cell history on 1 June": rule(by_cell, cell[june], opened),
        "publisher mean, kept up daily": rule(by_publisher, p.creator[june], daily),
        "cell history, kept up daily": rule(by_cell, cell[june], daily),
        "the row's spend alone": spent,
    }
    scores = {MODEL: [value / spent for value in predicted], **{name: [score] for name, score in rules.items()}}
    rows = compare(
        "ROI by row: rank correlation", spearman, revenue[june] / spent, scores, groups=cell[june], draws=draws
    )
    cells, which = np.unique(cell[june], return_inverse=True)

    def pooled(amount: Floats) -> Floats:
        return np.bincount(which, amount, minlength=len(cells)) / np.bincount(which, spent, minlength=len(cells))

    pooled_scores = {MODEL: [pooled(value) for value in predicted]}
    pooled_scores |= {name: [pooled(score * spent)] for name, score in rules.items() if "alone" not in name}
    pooled_scores["the cell's spend alone"] = [np.bincount(which, spent).astype(np.float64)]
    cellwise = compare(
        "ROI by cell: rank correlation", spearman, pooled(revenue[june]), pooled_scores, draws=draws
    )  # fmt: skip
    return AdsResult(rows, cellwise, len(train), p.cost, revenue, june)


def _cells(data: Dataset) -> Ints:
    """Publisher x banner x campaign (its month left out) of every row, as codes."""
    p = data.market.placements
    name = data.market.campaign_frame["campaign_id"].str.replace(r"_\d{4}-\d{2}$", "").to_numpy()
    campaign = np.unique(name, return_inverse=True)[1][p.campaign]
    return np.unique(np.column_stack([p.creator, p.deliverable, campaign]), axis=0, return_inverse=True)[1].ravel()


def report(folder: Path) -> list[Table]:
    """Every table of this data set."""
    result = judge(folder)
    seeds = f"{min(result.by_row.by_seed):.3f} to {max(result.by_row.by_seed):.3f}"
    notes = (
        f"{result.trained:,} rows taught the model; {result.by_row.rows:,} rows and {result.by_cell.rows} cells of "
        f"June were judged. Model by row over the tree seeds: {seeds}. Rows of a cell are resampled together. "
        "Net revenue / cost (ROAS) is ROI + 1 here, because no margin is known: it ranks the same.",
        REFERENCE,
    )
    table = comparison_table("June 2020, learnt from April and May", (result.by_row, result.by_cell), notes)
    return [table, _floor_table(result)]


def _floor_table(result: AdsResult) -> Table:
    june = np.zeros(len(result.cost), dtype=bool)
    june[result.june] = True
    rows = []
    for name, part in (("all rows", np.ones(len(june), dtype=bool)), ("June", june)):
        below = part & (result.cost < DEFAULT_FLOOR)
        shares = (
            below.sum() / part.sum(),
            *(float(x[below].sum() / x[part].sum()) for x in (result.cost, result.revenue)),
        )
        rows.append((name, *(f"{share:.1%}" for share in shares)))
    headings = ("", "share of rows", "share of spend", "share of revenue")
    return Table(f"Below a cost of {DEFAULT_FLOOR:g}, the default cost floor", headings, tuple(rows))
