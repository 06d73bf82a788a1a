"""Fast scores of everybody who is eligible for a brief, with a proven bound on how far each may be from the exact one.

The exact score (`serving.candidates.scored`) is a sum per stage: a linear base and trees. Here what a brief does not
change was summed beforehand (`serving.prepared`), splits that ask only about the brief are decided once, what depends
on a creator's codes is worked out once a kind, and the rest goes through masks (`serving.kernels`). Sums are integers,
so each addend is off by half a unit at most and sums by nothing more: a stage is off by at most `Layout.rounding`, a
product of stages by the sum of theirs. A fee may be off by that of its stage; where that much could send a creator the
other way at any split on a price, the margin is as wide as all trees with such splits can make it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.context import CreatorState
from features.declare import Context, log_positive
from features.geography import value_share
from features.matrix import FEATURES, define_features
from serving.candidates import Asked, order_of, scored, valued
from serving.fees import ESTIMATED, fees
from serving.filters import Mask, Removed, fee_bounds, fee_filters
from serving.layout import Layout
from serving.model import NEEDS, Model
from serving.prepared import BESIDE_PRICE, Prepared, linear_part
from serving.specialise import specialise
from serving.stage import MAX_LOG, Floats, Matrix
from serving.stage_sums import PAIR, PRICED, READ, LinearSums, TreeBytes

ROWS_AT_ONCE = 32_768  # creators whose bytes fit into the outer caches
WORTH_LEAVING = 0.8  # share of creators left by the fee filters from which nobody is copied to leave the rest out
SLACK = 1e-9  # for what double precision rounds, which is far less
ROUNDED = 2.0**-50  # what it rounds about a ROI of -1, however small the return
WIDEST = 1e300  # so that sums with a margin stay finite

KIND = tuple(i for i, f in enumerate(FEATURES) if f.scope == "kind")
BRIEF = tuple(i for i, f in enumerate(FEATURES) if f.scope == "brief")


@dataclass(frozen=True)
class Screened:
    """n creators who pass a brief's filters.

    Attributes:
        rows: their rows in the catalogue, ascending.
        order: about what `rank_by` asks to be highest; NaN where the exact one is.
        margin: how far it may be off.
        relative: how far value and cost may be off, relatively.
        unsure: whether the margin is wide for want of an exact fee.
        value, cost, fee, fee_spread: about those of `Candidates`, NaN where the order does not depend on them; the
            spread is exact.
        source: of the fee, exact.
    """

    rows: NDArray[np.int64]
    order: Floats
    margin: Floats
    relative: Floats
    unsure: Mask
    value: Floats
    cost: Floats
    fee: Floats
    fee_spread: Floats
    source: Floats

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, positions: NDArray[np.int64]) -> "Screened":
        """Some of them, in the order asked for."""
        return Screened(**{name: column[positions] for name, column in vars(self).items()})


def screen(
    asked: Asked, prepared: Prepared, rows: NDArray[np.int64], removed: Removed,
    thin: Callable[[Screened], Screened] = lambda part: part,
) -> tuple[Screened, NDArray[np.int64]]:  # fmt: skip
    """Score eligible creators fast, and leave out whose fee the brief does not allow.

    Args:
        asked: the brief; its model knows fees, not commissions.
        prepared: of its release.
        rows: of the catalogue, ascending; from `eligible`.
        removed: takes whom the fee filters remove.
        thin: leaves out whom the answer cannot need, some creators at a time.

    Returns:
        Those whom `thin` leaves, and the rows of all that passed the filters.
    """
    scorer = _Scorer(asked, prepared)
    parts, passed = [], []
    for low in range(0, len(rows), ROWS_AT_ONCE):
        part = scorer.part(rows[low : low + ROWS_AT_ONCE], removed)
        if len(part):
            passed.append(part.rows)
            parts.append(thin(part))
    if not parts:
        removed.refuse_nobody()
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])}
    return Screened(**joined), np.concatenate(passed)


class _Scorer:
    """One brief's programs and tables; `part` is asked for some creators at a time."""

    def __init__(self, asked: Asked, prepared: Prepared) -> None:
        layout, model, catalogue = prepared.layout, asked.release.model, asked.release.catalogue
        self._asked, self._prepared, self._layout, self._model = asked, prepared, layout, model
        one = asked.context(catalogue.state.span(0, 1))
        of_brief = np.full(len(FEATURES), np.nan, dtype=np.float32)
        of_brief[list(BRIEF)] = define_features(one, 1, BRIEF)[:, 0]
        kinds = catalogue.state.part(prepared.kinds)
        of_kind = define_features(asked.context(kinds), len(kinds), KIND)
        kind_values = dict(zip(KIND, of_kind, strict=True))
        quantity = asked.brief.rank_by
        self._path = _path(model, layout, asked.brief.goal, quantity)
        self._fee_row = [layout.row("fee")] if model.fee is not None else []
        fixed = linear_part(model, layout, list(KIND), of_kind.T) + linear_part(
            model, layout, list(BRIEF), of_brief[None, list(BRIEF)]
        )
        kind_sums = np.rint(fixed * layout.scale).astype(np.int32).T
        # of a logarithm: how far a fee may be off, and with it the stages that read it
        slope = max([1.0, *(abs(line.peers) for line in model.price_lines.values())])
        self._fee_error = SLACK + slope * float(layout.rounding[self._fee_row].sum()) + prepared.beside_error
        self._stages = {
            tuple(rows): LinearSums.of(model, layout, rows, read, kind_sums)
            for rows, read in ((self._fee_row, PAIR), (self._path, PAIR + PRICED))
            if rows
        }
        self._programs = {
            rows: TreeBytes.of(layout, specialise(layout, of_brief, rows), kind_values, self._fee_error)
            for rows in self._stages
        }
        off = 3.0 * self._fee_error + float(layout.rounding[self._path].sum())
        off += float(
            (self._linear_error(model) * np.abs([layout.stages[row].coef[list(PRICED)] for row in self._path])).sum()
        )
        self._error = _growth(off) + SLACK
        self._error_unsure = _growth(off + layout.priced_span[self._path].sum()) + SLACK

    def _linear_error(self, model: Model) -> Floats:
        """How far standardised PRICED may be off: by the fee, and as single precision rounds about their range."""
        s, read = model.scaler, list(PRICED)
        farthest = np.max([np.abs(column[read]) for column in (s.low, s.high, s.mean)], axis=0)
        return np.asarray((self._fee_error + 8.0 * farthest * 2.0**-24) / s.scale[read])

    def part(self, rows: NDArray[np.int64], removed: Removed) -> Screened:
        """Some creators, those who stay."""
        asked, model = self._asked, self._model
        state = _take(asked.release.catalogue.state, rows)
        # nothing that is asked of it here reads a record
        context = Context(state.profile, state.codes, state.lists, {}, asked.briefs, np.zeros(1, dtype=np.int64))
        values = np.empty((len(READ), len(rows)))
        values[: len(PAIR)] = define_features(context, len(rows), PAIR, np.float64)
        share, credibility = self._share(context), np.asarray(state.profile["audience_credibility"])
        peers = self._peers(rows, values[: len(PAIR)], state)
        fee, spread, source = fees(model, state, peers, None, asked.deliverable)
        fee = self._exact_at_bounds(rows, fee, state)
        keep = removed.take(np.ones(len(rows), dtype=bool), fee_filters(asked.brief, fee, source != ESTIMATED))
        at = np.flatnonzero(keep)
        if not len(at):
            return _nobody(rows[at])
        self._price(values[len(PAIR) :], rows, context, fee)
        leave_early = len(at) < WORTH_LEAVING * len(rows)
        if leave_early:
            rows, values, fee, spread = rows[at], values.take(at, axis=1), fee[at], spread[at]
            source, share, credibility = source[at], share[at], credibility[at]
        logs, unsure = self._log_rates(self._path, rows, values)
        stages = self._layout.stages
        expected = model.quantities({stages[r].quantity: logs[i] for i, r in enumerate(self._path)}, len(rows))
        scores = valued(model, expected, fee, asked.briefs, share, credibility, np.zeros(1, dtype=np.int64))
        order = order_of(scores, asked.brief.rank_by)
        # not the ROI + 1, which forgets what is small beside 1
        gained = scores.value / np.maximum(scores.cost, model.basis.cost_floor)
        size = {"roi": gained, "profit": np.abs(scores.value) + np.abs(scores.cost)}
        relative = np.where(unsure, self._error_unsure, self._error)
        with np.errstate(over="ignore"):
            margin = np.nan_to_num(relative * np.abs(size.get(asked.brief.rank_by, order))) + ROUNDED
        margin = np.minimum(margin, WIDEST)
        found = Screened(rows, order, margin, relative, unsure, scores.value, scores.cost, fee, spread, source)
        return found if leave_early or len(at) == len(rows) else found.part(at)

    def _price(self, out: Floats, rows: NDArray[np.int64], context: Context, fee: Floats) -> None:
        """Work out PRICED at the fees, before they are rounded, shape (len(PRICED), n)."""
        log_fee, unit, span = log_positive(fee), context.at_price(np.ones(len(rows))), _span(rows)
        for place, feature in enumerate(PRICED):
            if feature in BESIDE_PRICE:
                beside: Floats | Matrix = self._prepared.beside_price[BESIDE_PRICE.index(feature), span]
            else:
                beside = FEATURES[feature].define(unit)
            np.add(log_fee, beside, out=out[place])

    def _share(self, context: Context) -> Floats:
        """g of the value formula, where the goal's formula has it."""
        if self._asked.brief.goal not in ("awareness", "launch"):
            return np.ones(len(context.codes["country"]))
        prior = self._asked.release.catalogue.prior
        return value_share(context.lists["country"], context.codes["country"], context.briefs, context.which, prior)

    def _peers(self, rows: NDArray[np.int64], pairs: Floats, state: CreatorState) -> Floats | None:
        model = self._model
        if not model.needs_peers(state.profile["price"]):
            return None
        if model.fee is None:
            return None if model.typical_fee is None else np.full(len(rows), model.typical_fee)
        logs, _ = self._log_rates(self._fee_row, rows, pairs)
        return np.asarray(np.exp(logs[0]))

    def _exact_at_bounds(self, rows: NDArray[np.int64], fee: Floats, state: CreatorState) -> Floats:
        """The fees, exact where a filter could decide otherwise."""
        close = np.zeros(len(fee), dtype=bool)
        for bound in fee_bounds(self._asked.brief):
            close |= np.abs(fee - bound) <= _growth(2.0 * self._fee_error) * bound
        at = np.flatnonzero(close)
        if not self._model.price_lines:
            at = at[np.isnan(state.profile["price"][at])]  # a price is what is paid, and no estimate
        if not len(at):
            return fee
        fee = fee.copy()
        fee[at] = scored(self._asked, rows[at]).fee
        return fee

    def _log_rates(self, stages: list[int], rows: NDArray[np.int64], values: Floats) -> tuple[Floats, Mask]:
        """Log rates of some stages, shape (stages, n), and whose splits a fee as uncertain as it is may turn."""
        prepared, of_stages, ready = self._prepared, self._stages[tuple(stages)], self._programs[tuple(stages)]
        span = _span(rows)
        kind = np.array(prepared.kind[span])
        sums = np.empty((len(stages), len(rows)), dtype=np.int32)
        for row, stage in enumerate(stages):
            np.add(prepared.base[stage, span], ready.program.constant[row], out=sums[row])
        of_stages.add(values, kind, sums)
        bytes_, unsure = ready.bytes_of(prepared, span, kind, values)
        ready.program.run(bytes_, sums)
        return np.clip(sums / of_stages.unit[:, None], -MAX_LOG, MAX_LOG), unsure


def _path(model: Model, layout: Layout, goal: str, rank_by: str) -> list[int]:
    """Rows of the stages that the order, the value and the cost depend on."""
    asked = NEEDS[goal] if rank_by in ("roi", "profit", "value") else (rank_by,)
    if rank_by in ("roi", "profit", "value") and goal in model.overridden_goals:
        asked = ("value",)
    found: list[str] = []
    for quantity in asked:
        at = quantity
        while at in model.stages and at not in found:
            found.append(at)
            at = model.stages[at].exposure
    return [layout.row(quantity) for quantity in found]


def _growth(logs: float) -> float:
    """Relative change of what moves by so much in logs; capped above all that clipped rates can differ by."""
    return float(np.expm1(min(logs, 700.0)))


def _span(rows: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Ascending rows as a slice where they are all of a range, so that nothing is copied."""
    low, high = int(rows[0]), int(rows[-1]) + 1
    return slice(low, high) if high - low == len(rows) else rows


def _take(state: CreatorState, rows: NDArray[np.int64]) -> CreatorState:
    span = _span(rows)
    return state.span(span.start, span.stop) if isinstance(span, slice) else state.part(span)


def _nobody(rows: NDArray[np.int64]) -> Screened:
    none = np.zeros(0)
    return Screened(rows, none, none, none, none > 0, none, none, none, none, none)
