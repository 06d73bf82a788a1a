"""Fitting the funnel: which stages the data can teach, each on the rows that know its outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from features.declare import Family
from features.errors import DataError
from features.market import Market
from features.matrix import FEATURES
from features.value import GOALS
from serving.interval import Interval
from serving.model import CHAIN, ExtraCost, Model
from serving.price import PriceLine
from serving.promise import Promise
from serving.stage import Floats, Matrix, Scaler, Stage
from training.extra_cost import fit_extra_cost
from training.price_fit import fit_price_lines
from training.stage_fit import MIN_ROWS, FitOptions, StageData, fit_scaler, fit_stage, in_time_order, level_shift

UNEXPOSED = 0.02  # largest share of an outcome that may lie on rows without exposure
SEASON = tuple(i for i, f in enumerate(FEATURES) if f.name.startswith("season_"))
SEASON_DAYS = 365  # with less than a year of history a season cannot be told from a trend
# How often a post is seen and liked does not depend on where the brief would like it seen, nor on its budget. Past
# picks were mostly in the target, so there these features are but proxies, which mislead for everybody else.
TARGETED = tuple(
    i
    for i, f in enumerate(FEATURES)
    if f.name in ("log_price_per_target_view", "log_price_to_budget", "log_budget")
    or (f.family is Family.GEOGRAPHY and f.scope != "creator")
)
FEE_BLIND = tuple(i for i, f in enumerate(FEATURES) if f.family is Family.COST or f.name == "creator_return")
BLIND = {"delivery": TARGETED, "impressions": TARGETED, "engagements": TARGETED, "fee": (*TARGETED, *FEE_BLIND)}


class TooLittle(DataError):
    """No outcome has enough rows to learn from."""


@dataclass(frozen=True)
class Labels:
    """Outcomes of the rows of a matrix, NaN where unknown or not delivered; `one` is 1.

    `price` is what was known of the fee beforehand and `price_source` where from, NaN where nothing was.
    """

    day: NDArray[np.int64]
    creator: NDArray[np.int64]
    goal: NDArray[np.int64]
    columns: Mapping[str, Floats]
    fee: Floats
    price: Floats
    price_source: Floats
    extra_cost: Floats
    overridden: NDArray[np.bool_]

    def part(self, rows: NDArray[np.int64]) -> "Labels":
        """Some of the rows."""
        changed = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "columns"}
        return replace(self, **changed, columns={name: column[rows] for name, column in self.columns.items()})


def labels(market: Market, price: Floats, price_source: Floats) -> Labels:
    """Outcomes of every placement of a market; who may be used as a label is for the split to say.

    Args:
        market: the encoded data.
        price, price_source: known of each fee when it was agreed, NaN where nothing was; shape (p,).
    """
    p = market.placements
    delivered = p.delivered > 0
    columns = {name: np.where(delivered, p.outcomes[name], np.nan) for name in p.outcomes if name != "value"}
    columns |= {"one": np.ones(len(p)), "delivery": np.where(np.isnan(p.delivered), np.nan, delivered)}
    columns["value"] = np.where(p.overridden, p.outcomes["value"], np.nan)
    return Labels(
        day=p.agreed,
        # numbered among those booked, so that a number does not hang on who else is in the data
        creator=np.unique(p.creator, return_inverse=True)[1],
        goal=market.campaigns.goal[p.campaign],
        columns=columns,
        fee=p.fee,
        price=price,
        price_source=price_source,
        extra_cost=p.extra_cost,
        overridden=p.overridden,
    )


def fit_model(market: Market, x: Matrix, known: Labels, options: FitOptions) -> Model:
    """Fit every stage the rows can teach. The intervals are left empty: they come from later rows.

    Args:
        market: settings and value basis.
        x: features of the training rows, shape (n, f).
        known: their labels.
        options: size of the trees.

    Raises:
        TooLittle: no outcome at all has enough rows.
    """
    order = in_time_order(known.day)
    x, known = x[order], known.part(order)
    if known.day[-1] - known.day[0] < SEASON_DAYS:
        x = _blinded(x, SEASON)
    scaler = fit_scaler(x)
    design = scaler.design(x)
    stages: dict[str, Stage] = {}
    for quantity in CHAIN:
        exposure = _exposure(quantity, known, stages)
        if exposure is not None:
            rows = _rows(quantity, exposure, known)
            stages[quantity] = _fit(quantity, exposure, rows, x, design, known, options)
    if not set(stages) - {"delivery"}:
        raise TooLittle(
            f"too few settled outcomes to learn from: at least {MIN_ROWS} placements settled before the as-of day must "
            "know their impressions, engagements, revenue or value, and some of it must be above 0 and delivered"
        )
    fees = known.fee[~np.isnan(known.fee)]
    model = Model(
        version="unregistered",
        settings=market.settings,
        basis=market.basis,
        scaler=scaler,
        stages=stages,
        levels={},
        fee=None if market.commission_rate is not None else _fit_fee(x, scaler, known, options),
        typical_fee=float(np.median(fees)) if len(fees) and market.commission_rate is None else None,
        price_lines={} if market.commission_rate is not None else _fit_prices(x, scaler, known, options),
        extra_cost=_extra_cost(known, market.commission_rate),
        commission_rate=market.commission_rate,
        overridden_goals=_overridden(known) if "value" in stages else (),
        promise=Promise(),
        intervals={"any": Interval(np.array([]), np.ones((1, 100)), 0)},
        card={},
    )
    return _level(model, x, known)


def _extra_cost(known: Labels, commission_rate: float | None) -> ExtraCost:
    """What comes on top of the fee: nothing where it completes the commission, which may be booked as other cost."""
    if commission_rate is not None:
        due = commission_rate * known.columns["net_revenue"]
        off = np.abs(known.fee + known.extra_cost - due) - np.abs(known.fee - due)
        if np.nansum(np.sign(off)) < 0:
            return ExtraCost(0.0, 1.0, 0.0)
    return fit_extra_cost(known.fee, known.extra_cost)


def _exposure(quantity: str, known: Labels, stages: Mapping[str, Stage]) -> str | None:
    """The first exposure of the chain that enough rows know; None where the quantity cannot be learnt."""
    y = known.columns[quantity]
    if np.isfinite(y).sum() < MIN_ROWS or np.nansum(y) <= 0:
        return None
    for exposure in CHAIN[quantity]:
        if exposure != "one" and exposure not in stages:
            continue
        labelled = np.isfinite(y) & np.isfinite(known.columns[exposure])
        rows = labelled & (known.columns[exposure] > 0) & (y >= 0)
        without = float(y[labelled & (known.columns[exposure] <= 0)].sum())
        enough = rows.sum() >= MIN_ROWS or (exposure == "conversions" and rows.sum() >= MIN_ROWS // 2)
        most = labelled.sum() >= 0.5 * np.isfinite(y).sum()
        if enough and most and y[rows].sum() > 0 and without <= UNEXPOSED * y[rows].sum():
            return exposure
    return None


def _rows(quantity: str, exposure: str, known: Labels) -> NDArray[np.int64]:
    y, e = known.columns[quantity], known.columns[exposure]
    # refunds can exceed a placement's revenue; a rate cannot be negative
    return np.flatnonzero(np.isfinite(y) & (y >= 0) & np.isfinite(e) & (np.nan_to_num(e) > 0))


def _fit(
    quantity: str, exposure: str, rows: NDArray[np.int64], x: Matrix, design: Matrix, known: Labels, options: FitOptions
) -> Stage:
    seen, designed = x[rows], design[rows]
    if quantity in BLIND:
        seen, designed = _blinded(seen, BLIND[quantity]), _without(designed, BLIND[quantity])
    data = StageData(seen, designed, known.columns[quantity][rows], known.columns[exposure][rows])
    return fit_stage(quantity, exposure, data, options)


def _fit_prices(x: Matrix, scaler: Scaler, known: Labels, options: FitOptions) -> dict[str, PriceLine]:
    """How fees follow the prices known beforehand, against the fees of alike creators."""

    def peer_fees(learn: NDArray[np.int64], ask: NDArray[np.int64]) -> Floats:
        stage = _fit_fee(x[learn], scaler, known.part(learn), options)
        return np.full(len(ask), np.nan) if stage is None else np.exp(stage.log_rate(x[ask], scaler.design(x[ask])))

    return fit_price_lines(known.fee, known.price, known.price_source, known.creator, peer_fees)


def _fit_fee(x: Matrix, scaler: Scaler, known: Labels, options: FitOptions) -> Stage | None:
    """The fee to expect of a creator without a price; it may not look at prices."""
    rows = np.flatnonzero(known.fee > 0)
    if len(rows) < MIN_ROWS:
        return None
    blind, design = _blinded(x[rows], BLIND["fee"]), _without(scaler.design(x[rows]), BLIND["fee"])
    return fit_stage("fee", "one", StageData(blind, design, known.fee[rows], np.ones(len(rows))), options)


def _without(design: Matrix, columns: tuple[int, ...]) -> Matrix:
    """A design in which some features, and that they are missing, never vary: they get no coefficient."""
    f = design.shape[1] // 2
    out = design.copy()
    out[:, [*columns, *(f + column for column in columns)]] = 0.0
    return out


def _blinded(x: Matrix, columns: tuple[int, ...]) -> Matrix:
    out = x.copy()
    out[:, columns] = np.nan
    return out


def _level(model: Model, x: Matrix, known: Labels) -> Model:
    """Factors that bring the product of stages to the level of the data.

    A product of mean rates is not the mean of the product where rates fall with size; the factor mends the sum. What
    was not delivered counts for as much as the delivered of the same goal are known (see `training.judgeable`).
    """
    expected = model.expected(x)
    levels = {}
    for quantity, stage in model.stages.items():
        delivered = known.columns["delivery"] > 0
        y = np.where(delivered, known.columns[quantity], 0.0)
        asked = known.overridden if quantity == "value" else np.ones(len(y), dtype=bool)
        counts = np.where(delivered, 1.0, _known_share(np.isfinite(y), delivered & asked, known.goal))
        rows = np.isfinite(y) & asked & (counts > 0)
        if stage.exposure == "one" or not rows.any():
            continue
        levels[quantity] = float(np.exp(level_shift(y[rows], expected[quantity][rows], counts[rows])))
    return replace(model, levels=levels)


def _known_share(known: NDArray[np.bool_], among: NDArray[np.bool_], goal: NDArray[np.int64]) -> Floats:
    """Of each row: the share of known ones among some of its goal, 0 where there are none; shape (n,)."""
    total = np.bincount(goal[among], minlength=len(GOALS))
    share = np.bincount(goal[among & known], minlength=len(GOALS)) / np.maximum(total, 1)
    return np.asarray(share[goal])


def _overridden(known: Labels) -> tuple[str, ...]:
    """Goals whose value the data give for at least half of the placements."""
    return tuple(
        goal
        for code, goal in enumerate(GOALS)
        if (known.goal == code).any() and known.overridden[known.goal == code].mean() >= 0.5
    )
