"""The plain way to answer a brief, which fast scoring is measured against: everything anew for every request."""

from typing import Any

import numpy as np
import polars as pl

from features.brief import Brief
from features.declare import Family
from features.matrix import NAMES, brief_matrix, fill
from features.profile import PRICE_SOURCES
from features.value import placement_value, roi
from serving.candidates import ask
from serving.release import Release


def naive_rank(release: Release, brief: Brief) -> list[dict[str, Any]]:
    """The best creators: a frame of all features, `Booster.predict` of every stage, the value formula, a sort.

    What the product adds is left out: no filters but the budget, no reasons, no intervals.
    """
    model, catalogue = release.model, release.catalogue
    asked, state = ask(release, brief), catalogue.state
    context = asked.context(state)
    frame = pl.DataFrame(brief_matrix(state, context), schema=list(NAMES))
    x = frame.to_numpy(order="c")
    price = state.profile["price"]
    source = np.where(np.isnan(price), PRICE_SOURCES.index("estimated"), np.nan_to_num(state.profile["price_source"]))
    peers = np.exp(_log_rate(model.fee, x, model.scaler.design(x))) if model.fee else None
    fee, _ = model.expected_fee(price, source, peers)
    x = np.array(x)
    fill(x, context.at_price(fee), Family.COST)
    design = model.scaler.design(x)
    logs = {name: _log_rate(stage, x, design) for name, stage in model.stages.items()}
    expected = model.quantities(logs, len(x))
    share = np.ones(len(x))  # the formula of a conversion has none
    none = np.full(len(x), np.nan)
    value = placement_value(
        asked.briefs.goal[context.which], expected.get("impressions", none), expected.get("engagements", none),
        expected.get("net_revenue", none), share, state.profile["audience_credibility"],
        asked.briefs.numbers["product_margin"][context.which], model.basis,
    )  # fmt: skip
    cost = fee + model.extra_cost.at(fee)
    value = model.promise.kept(value, np.maximum(cost, model.basis.cost_floor))
    returned = roi(value, cost, model.basis.cost_floor)
    order = np.where(fee > brief.budget, -np.inf, np.nan_to_num(returned, nan=-np.inf))
    best = np.argsort(-order, kind="stable")[: brief.top]
    return catalogue.display[best].with_columns(pl.Series("roi", returned[best])).to_dicts()


def _log_rate(stage, x, design):
    out = design @ stage.coef.astype(np.float32) + stage.intercept
    for trees in stage.trees:
        out += trees.weight * trees.booster.predict(x, raw_score=True, num_threads=1)
    return np.clip(out, -40.0, 40.0)
