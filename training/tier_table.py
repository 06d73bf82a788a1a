"""Micro or macro, answered from the past: return per cost by tier, and whether one is better beyond chance.

Tiers are compared at equal briefs, fit, platform, country and deliverable (`training.tier_controls`), on creators as
they were booked. A winner is named where the best tier is ahead of every other one beyond chance. Asked of the best
against each of the others, an ordinary two-sided test at ALPHA keeps the chance of naming one where the two best are
equal within ALPHA, however many tiers there are (Gutmann & Maymin 1987); the goals share ALPHA between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.table import Table

from features.tiers import tier_names
from features.value import GOALS
from training.dataset import Dataset
from training.tier_controls import tier_controls
from training.tier_fit import fit_tiers
from training.tier_pool import Difference, Levels, difference, pool
from training.tier_rows import TierRows, known_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

ALL = "all goals"
ALPHA = 0.05
FITTED = (20, 10, 5)  # placements, creators and placements with any value that a tier needs for a ratio under a goal
COMPARED = (100, 50)  # placements and creators that it needs to take part in a verdict
JOINED = ("macro", "mega")  # where the question is micro or macro, macro means 100k and up (mega included)


@dataclass(frozen=True)
class TierLine:
    """One tier under one goal.

    Attributes:
        goal: its name, or `all goals`.
        tier: its name.
        placements: with known value and cost.
        creators: who made them.
        raw_roi: sum of value / sum of cost - 1, nothing held equal; None without cost.
        ratio: return per cost relative to the average of the tiers shown, everything else equal; None: too little data.
        low: of the 90 % interval of the ratio.
        high: of the same.
        enough: whether there is enough data to take part in the verdict.
    """

    goal: str
    tier: str
    placements: int
    creators: int
    raw_roi: float | None
    ratio: float | None
    low: float | None
    high: float | None
    enough: bool


@dataclass(frozen=True)
class TierVerdict:
    """Which tier is better under one goal or over all, and the same in words.

    Attributes:
        goal: its name, or `all goals`.
        winner: the tier, or None.
        reason: better, chance (no tier is better beyond it), little (data) or commission.
        text: a sentence for people.
    """

    goal: str
    winner: str | None
    reason: str
    text: str


@dataclass(frozen=True)
class TierTable:
    """Lines and verdicts, those over all goals first.

    Attributes:
        lines: a goal after the other, the tiers from the smallest up.
        verdicts: a goal after the other.
        used: placements with known value and cost, of which the rest speaks.
        left_out: the others.
        apart: of those used, how many count in the raw ROI only: they cost less than the floor of costs, or were for
            awareness with nobody of the audience in the target.
    """

    lines: tuple[TierLine, ...]
    verdicts: tuple[TierVerdict, ...]
    used: int
    left_out: int
    apart: int

    @property
    def overall(self) -> TierVerdict:
        """The verdict over all goals."""
        return self.verdicts[0]

    def frame(self) -> pl.DataFrame:
        """The lines, each with the winner of its goal."""
        numbers = dict.fromkeys(("raw_roi", "ratio", "low", "high"), pl.Float64)
        types = {"goal": pl.String, "tier": pl.String, "placements": pl.Int64, "creators": pl.Int64, **numbers}
        winner = {verdict.goal: verdict.winner for verdict in self.verdicts}
        rows: list[dict[str, object]] = [{f.name: getattr(line, f.name) for f in fields(line)} for line in self.lines]
        rows = [{**row, "winner": winner[str(row["goal"])]} for row in rows]
        return pl.DataFrame(rows, schema={**types, "enough": pl.Boolean, "winner": pl.String})


def tier_table(data: Dataset, rows: Ints) -> TierTable:
    """Compare tiers on past placements.

    Args:
        data: past placements with their features.
        rows: positions of the placements whose outcome may be looked at (`training.split.labelled`).
    """
    market = data.market
    names = tier_names(market.settings)
    known = known_rows(data, rows)
    goals = [g for g in range(len(GOALS)) if (known.goal == g).any()]
    by_goal = {} if market.commission_rate is not None else _fit(data, known, len(names) - 1)
    overall = pool(list(by_goal.values())) if by_goal else None
    lines, verdicts = [], []
    for name, mine, levels in [
        (ALL, np.ones(len(known.index), dtype=bool), overall),
        *((GOALS[g], known.goal == g, by_goal.get(g)) for g in goals),
    ]:
        enough = np.array([_enough(known, mine & (known.tier == t), COMPARED) for t in range(len(names))])
        lines += _lines(name, names, known, mine, levels, enough)
        alpha = ALPHA if name == ALL else ALPHA / max(len(by_goal), 1)
        if market.commission_rate is not None:
            verdicts.append(_commission(name, market.commission_rate))
        else:
            verdicts.append(_verdict(name, names, levels, enough, alpha))
    used = len(known.index)
    return TierTable(tuple(lines), tuple(verdicts), used, len(rows) - used, used - int(known.fair.sum()))


def tier_sentences(table: TierTable) -> list[str]:
    """The verdicts in words, and how many placements they leave out."""
    out = [verdict.text for verdict in table.verdicts]
    if table.left_out:
        out.append(f"{table.left_out} of {table.used + table.left_out} placements lack a value or a cost: left out")
    if table.apart:
        out.append(
            f"{table.apart} placements count in the raw ROI only: they cost less than the floor of costs, or were for "
            "awareness with nobody of the audience in the target"
        )
    return out


def tier_report(table: TierTable) -> Table:
    """The table as printed; a tier with a star has too little data to take part in the verdict."""
    out = Table(title="Return by tier, of past placements", title_justify="left")
    for column in ("goal", "tier"):
        out.add_column(column)
    for column in ("placements", "creators", "raw ROI", "return, all else equal (average 1)", "90 % interval"):
        out.add_column(column, justify="right")
    winners = {verdict.goal: verdict.winner for verdict in table.verdicts}
    for line in table.lines:
        roi = "-" if line.raw_roi is None else f"{line.raw_roi:.2f}"
        ratio = "-" if line.ratio is None else f"{line.ratio:.2f}"
        interval = "-" if line.low is None or line.high is None else f"{line.low:.2f} to {line.high:.2f}"
        out.add_row(
            line.goal, line.tier + ("" if line.enough else " *"), str(line.placements), str(line.creators),
            roi, ratio, interval, style="bold" if line.tier == winners[line.goal] else None,
        )  # fmt: skip
    return out


def _enough(known: TierRows, mine: Bools, least: Sequence[int]) -> bool:
    mine = mine & known.fair
    figures = (int(mine.sum()), len(np.unique(known.creator[mine])), int((known.value[mine] > 0).sum()))
    return all(have >= need for have, need in zip(figures, least, strict=False))


def _fit(data: Dataset, known: TierRows, tiers: int) -> dict[int, Levels]:
    """Levels of the tiers under each goal that has two of them; a tier of unknown followers is none."""
    found = {}
    for goal in range(len(GOALS)):
        of_goal = known.fair & (known.goal == goal)
        able = [
            t
            for t in range(tiers)
            if _enough(known, mine := of_goal & (known.tier == t), FITTED) and known.value[mine].sum() > 0
        ]
        if len(able) < 2:
            continue
        use = np.flatnonzero(of_goal & np.isin(known.tier, able))
        _, creator = np.unique(known.creator[use], return_inverse=True)
        fit = fit_tiers(
            known.value[use] / known.cost[use],
            known.cost[use],
            np.searchsorted(able, known.tier[use]),
            tier_controls(data, known.index[use]),
            creator,
            known.prior[use],
        )
        level, influence = np.full(tiers, np.nan), np.zeros((len(use), tiers))
        level[able], influence[:, able] = fit.level, fit.influence
        campaign = data.market.placements.campaign[known.index[use]]
        found[goal] = Levels(level, influence, fit.weight, known.tier[use], known.creator[use], campaign)
    return found


def _lines(
    goal: str, names: Sequence[str], known: TierRows, mine: Bools, levels: Levels | None, enough: Bools
) -> list[TierLine]:
    lines = []
    for t, name in enumerate(names):
        rows = mine & (known.tier == t)
        if t == len(names) - 1 and not rows.any():
            continue
        ratio, low, high = None, None, None
        if levels is not None and t < len(levels.level) and levels.compared[t]:
            one = difference(levels, np.eye(len(levels.level))[t] - _shares(levels))
            ratio, (low, high) = float(np.exp(one.mean)), one.interval()
        spent = float(known.cost[rows].sum())
        lines.append(
            TierLine(
                goal=goal,
                tier=name,
                placements=int(rows.sum()),
                creators=len(np.unique(known.account[rows])),
                raw_roi=float(known.value[rows].sum()) / spent - 1.0 if spent > 0 else None,
                ratio=ratio,
                low=low,
                high=high,
                enough=bool(enough[t]) and ratio is not None,
            )
        )
    return lines


def _shares(levels: Levels) -> Floats:
    """Share of each tier in the placements compared, shape (t,)."""
    counts = np.bincount(levels.tier, minlength=len(levels.level)) * levels.compared
    return np.asarray(counts / counts.sum())


def _groups(names: Sequence[str], levels: Levels, enough: Bools) -> dict[str, Floats]:
    """The tiers of a verdict as weights of levels; macro is 100k and up, and mega has no verdict of its own."""
    one = np.eye(len(levels.level))
    able = {names[t]: t for t in range(len(levels.level)) if levels.compared[t]}
    groups = {name: one[t] for name, t in able.items() if enough[t]}
    if all(name in groups or name in able for name in JOINED) and JOINED[0] in groups:
        both = np.isin(np.arange(len(one)), [able[name] for name in JOINED]) * _shares(levels)
        groups[JOINED[0]] = both / both.sum()
        groups.pop(JOINED[1], None)
    return groups


def _verdict(goal: str, names: Sequence[str], levels: Levels | None, enough: Bools, alpha: float) -> TierVerdict:
    groups = {} if levels is None else _groups(names, levels, enough)
    joined = JOINED[0] in groups and np.count_nonzero(groups[JOINED[0]]) > 1
    shown = {name: f"{name} (with {JOINED[1]})" if joined and name == JOINED[0] else name for name in names}
    out = [name for name in names[:-1] if name not in groups and not (joined and name == JOINED[1])]
    rest = f"; too little data to say of {' and '.join(out)}" if out else ""
    if levels is None or len(groups) < 2:
        have = [shown[name] for name, is_enough in zip(names[:-1], enough, strict=False) if is_enough]
        only = "; no tier has" if not have else f"; only {have[0]} has" if len(have) == 1 else ""
        text = (
            f"{goal}: too little data to compare tiers: it takes two with {COMPARED[0]} placements by {COMPARED[1]} "
            f"creators each, value and cost known and some value above 0{only}"
        )
        return TierVerdict(goal, None, "little", text)
    value = {name: float(np.nan_to_num(levels.level) @ weights) for name, weights in groups.items()}
    best, *others = sorted(value, key=lambda name: -value[name])
    ahead = {name: difference(levels, groups[best] - groups[name]) for name in others}
    if all(one.mean > one.quantile(alpha) * one.error for one in ahead.values()):
        by = ", ".join(f"{_percent(one)} than {shown[name]}" for name, one in ahead.items())
        return TierVerdict(goal, best, "better", f"{goal}: {shown[best]} returns more per cost: {by}{rest}")
    unseen = ahead[others[0]].unseen(alpha)
    seen = f"a difference under {unseen:.0%} would mostly go unseen" if unseen < 10 else "there is hardly any data"
    return TierVerdict(goal, None, "chance", f"{goal}: no tier is better beyond chance ({seen}){rest}")


def _commission(goal: str, rate: float) -> TierVerdict:
    text = (
        f"{goal}: cost is a fixed share of revenue ({rate:.0%}), so ROI is the same for every tier by construction and "
        "says nothing about tiers"
    )
    return TierVerdict(goal, None, "commission", text)


def _percent(one: Difference) -> str:
    low, high = one.interval()
    return f"{np.expm1(one.mean):.0%} more (90 % interval {low - 1:.0%} to {high - 1:.0%})"
