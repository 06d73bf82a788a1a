"""Random models, briefs and catalogues, and what fast scoring must have in common with the plain path.

Trees are written as LightGBM's model text, so that they may ask what no training would: thresholds exactly at values,
every kind of missing value, categories of anything. LightGBM itself reads them, and is the oracle.
"""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from features.brief import parse_brief
from features.errors import DataError
from features.matrix import FEATURES
from serving.candidates import Asked, ask, candidates, eligible
from serving.filters import NothingFits
from serving.forest import ZERO
from serving.quotes import worth_asking
from serving.release import Release
from serving.screen import screen
from serving.shortlist import shortlist
from serving.stage import Trees

ARRAYS = ("rows", "x", "fee", "fee_spread", "source", "share", "credibility", "order")
PRICED = [i for i, f in enumerate(FEATURES) if f.beside_price is not None]
COUNTRIES = ("SG", "MY", "VN", "TH", "ID", "US")


# --- trees


def model_text(trees, features):
    """LightGBM's model text of trees, each from `random_tree`."""
    names = " ".join(f"Column_{i}" for i in range(features))
    head = (
        f"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx={features - 1}\n"
        f"objective=regression\nfeature_names={names}\nfeature_infos={' '.join(['none'] * features)}\n\n"
    )
    return head + "".join(f"Tree={i}\n{tree}\n\n" for i, tree in enumerate(trees)) + "end of trees\n"


def random_tree(rng, x, leaves, features, *, categorical=0.02, missing=(0, 1, 2), size=0.1):
    """The text of one tree: thresholds at values of x, shape (n, f), at their neighbours, at zero or at its border."""
    values = rng.normal(0, size, leaves)
    if leaves == 1:
        return f"num_leaves=1\nnum_cat=0\nleaf_value={values[0]:.17g}\nis_linear=0\nshrinkage=1"
    left, right = [], []
    asked = []
    at = {0: None}  # of each leaf the split and side it hangs at
    for split in range(leaves - 1):
        leaf = int(rng.choice(list(at)))
        if at[leaf] is not None:
            parent, side = at[leaf]
            (left, right)[side][parent] = split
        left.append(~leaf)
        right.append(~(split + 1))
        at[leaf], at[split + 1] = (split, 0), (split, 1)
        asked.append(_question(rng, x, int(rng.choice(features)), categorical, missing))
    bounds, words, thresholds = [0], [], []
    for _, threshold, decision, categories in asked:
        if decision & 1:
            thresholds.append(len(bounds) - 1)
            own = [0] * (max(categories, default=0) // 32 + 1)
            for code in categories:
                own[code // 32] |= 1 << code % 32
            words += own
            bounds.append(len(words))
        else:
            thresholds.append(threshold)
    fields = {
        "num_leaves": leaves, "num_cat": len(bounds) - 1, "split_feature": [f for f, *_ in asked],
        "split_gain": [1] * len(asked), "threshold": thresholds, "decision_type": [d for _, _, d, _ in asked],
        "left_child": left, "right_child": right, "leaf_value": list(values), "leaf_weight": [1] * leaves,
        "leaf_count": [1] * leaves, "internal_value": [0] * len(asked), "internal_weight": [1] * len(asked),
        "internal_count": [2] * len(asked),
        **({"cat_boundaries": bounds, "cat_threshold": words} if words else {}),
        "is_linear": 0, "shrinkage": 1,
    }  # fmt: skip
    return "\n".join(f"{name}={_cell(value)}" for name, value in fields.items())


def _cell(value):
    return " ".join(f"{v:.17g}" for v in value) if isinstance(value, list) else str(value)


def _question(rng, x, feature, categorical, missing):
    column = x[:, feature]
    known = column[np.isfinite(column)]
    decision = int(rng.choice(missing)) << 2 | 2 * int(rng.random() < 0.5)
    if rng.random() < categorical:
        codes = np.unique(np.trunc(known)) if len(known) else np.zeros(1)
        codes = codes[(codes >= 0) & (codes < 200)].astype(int)
        chosen = [int(code) for code in codes if rng.random() < 0.5] or [int(rng.integers(0, 70))]
        return feature, 0.0, 1 | decision, chosen
    value = float(rng.choice(known)) if len(known) else 0.0
    steps = (0.0, 0.0, 1e-12, -1e-12, 1e-3, -0.3)
    borders = (0.0, ZERO, -ZERO, ZERO * 1.0000001, -ZERO / 2, 1.7e308, -1.7e308, 1e39)
    if rng.random() < 0.1:
        return feature, float(rng.choice(borders)), decision, ()
    return feature, value * (1.0 + float(rng.choice(steps))), decision, ()


def forest(rng, x, trees=6, leaves=(1, 31), features=None, **kinds):
    """A Trees of random trees over some features (default: all)."""
    features = np.arange(x.shape[1]) if features is None else np.asarray(features)
    counts = rng.integers(leaves[0], leaves[1] + 1, trees)
    texts = [random_tree(rng, x, int(n), features, **kinds) for n in counts]
    return Trees(model_text(texts, x.shape[1]), float(rng.choice([1.0, 0.5, -0.7])))


def with_trees(model, rng, x, features=None, coef=1.0, **shape):
    """The model with random trees in every stage, and its linear base times a factor; fees are not read from prices."""

    def other(stage, asked):
        given = tuple(forest(rng, x, features=asked, **shape) for _ in range(2))
        return replace(stage, trees=given, coef=stage.coef * coef)

    wanted = np.arange(len(FEATURES)) if features is None else np.asarray(features)
    unpriced = np.setdiff1d(wanted, PRICED)
    stages = {name: other(stage, wanted) for name, stage in model.stages.items()}
    fee = model.fee if model.fee is None or not len(unpriced) else other(model.fee, unpriced)
    return replace(model, stages=stages, fee=fee, version="random")


def features_of(*scopes):
    """Positions of the features whose bytes come from some of: creator, brief, kind, pair, price."""
    where = [f.scope if f.beside_price is None else "price" for f in FEATURES]
    return [i for i, scope in enumerate(where) if scope in scopes]


# --- catalogues


def drawn(catalogue, n, seed=0, jitter=0.05):
    """n creators drawn from a catalogue, their signals a bit different each; 0 leaves them as they are."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(catalogue.state), n)
    state = catalogue.state.part(rows)

    def other(values):
        return values * (1.0 + jitter * rng.standard_normal(values.shape)).astype(values.dtype)

    profile = {name: v if name == "price_source" else other(v) for name, v in state.profile.items()}
    display = catalogue.display[rows].with_columns(pl.Series("creator_id", [f"d{i:07d}" for i in range(n)]))
    return replace(catalogue, state=replace(state, profile=profile, static=other(state.static)), display=display)


def with_profile(catalogue, **columns):
    """The catalogue with other numbers of its creators."""
    given = {name: np.broadcast_to(np.asarray(v, float), len(catalogue.state)) for name, v in columns.items()}
    return replace(catalogue, state=replace(catalogue.state, profile={**catalogue.state.profile, **given}))


# --- briefs


def random_brief(rng, catalogue):
    """The fields of a brief: any of them, those that filter among them."""

    def some(words, most):
        size = min(int(rng.integers(0, most + 1)), len(words))
        return [str(word) for word in rng.choice(list(words), size, replace=False)]

    def maybe(chance, value):
        return value() if rng.random() < chance else None

    words, fees = catalogue.words, catalogue.state.profile["price"]
    fees = fees[fees > 0] if (fees > 0).any() else np.array([100.0])
    ids = catalogue.display["creator_id"].to_list()
    filters = {
        "tiers": maybe(0.3, lambda: some(catalogue.tier_names, 3)),
        "min_followers": maybe(0.1, lambda: float(rng.choice([0, 1e4]))),
        "max_followers": maybe(0.1, lambda: float(rng.choice([1e5, 1e7]))),
        "max_fee": maybe(0.3, lambda: float(rng.choice([*rng.choice(fees, 3), 300.0]))),
        "min_credibility": maybe(0.1, lambda: 0.5),
        "min_target_share": maybe(0.15, lambda: float(rng.choice([0.01, 0.2]))),
        "platforms": maybe(0.1, lambda: some(words.platform.values, 2)),
        "niches": maybe(0.15, lambda: some(words.niche.values, 3)),
        "countries": maybe(0.1, lambda: some(COUNTRIES, 4)),
        "languages": maybe(0.1, lambda: ["en"]),
        "creator_ids": maybe(0.1, lambda: [*some(ids, 30), ids[0], "nobody"]),
        "exclude_creator_ids": maybe(0.1, lambda: some(ids, 5)),
        "known_price_only": maybe(0.2, lambda: True),
    }
    goals = ("awareness", "engagement", "conversion", "launch", "local")
    orders = ("roi", "roi", "roi", "profit", "value", "impressions", "engagements", "conversions")
    return {
        "goal": str(rng.choice(goals)),
        "budget": float(rng.choice([*rng.choice(fees, 2), 1000.0, 1e5, 1e9])),
        "brand_id": maybe(0.3, lambda: str(rng.choice(list(words.brand.values)))),
        "niches": some(words.niche.values, 3),
        "target_countries": {code: float(rng.random() + 0.1) for code in some(COUNTRIES, 3)},
        "languages": some(("en", "ms", "zh"), 2),
        "platforms": maybe(0.2, lambda: some(words.platform.values, 2)),
        "starts_on": maybe(0.3, lambda: f"2026-{rng.integers(1, 13):02d}-11"),
        "product_price": maybe(0.5, lambda: float(rng.choice([0.0, 1.0, 99.0]))),
        "product_margin": maybe(0.5, lambda: float(rng.random())),
        "is_new_product": maybe(0.5, lambda: bool(rng.random() < 0.5)),
        "deliverable": maybe(0.4, lambda: str(rng.choice(["reel", "Reel"]))),
        "top": int(rng.choice([1, 2, 20, 100, 1000])),
        "rank_by": str(rng.choice(orders)),
        "filters": {name: value for name, value in filters.items() if value is not None},
    }


# --- the comparison


def same_answer(release, brief):
    """Ask both paths; all that an answer is made of must be equal, or both refuse alike.

    Returns:
        Candidates of the plain path and the Shortlist, or None where both refused.
    """
    brief = parse_brief(brief) if isinstance(brief, dict) else brief
    try:
        full = candidates(release, brief)
    except DataError as refused:
        with pytest.raises(type(refused)) as also:
            shortlist(release, brief)
        assert (str(also.value), also.value.field) == (str(refused), refused.field)  # noqa: PT017
        return None
    short = shortlist(release, brief)
    found, picks, shown = short.found, full.best(brief.top), short.picks
    np.testing.assert_array_equal(found.rows[shown], full.rows[picks])
    at = np.searchsorted(full.rows, found.rows)
    np.testing.assert_array_equal(full.rows[at], found.rows)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(full, name)[at], err_msg=name)
    for name in ("value", "cost", "roi"):
        np.testing.assert_array_equal(getattr(found.scores, name), getattr(full.scores, name)[at], err_msg=name)
    assert found.scores.expected.keys() == full.scores.expected.keys()
    for name, values in full.scores.expected.items():
        np.testing.assert_array_equal(found.scores.expected[name], values[at], err_msg=name)
    assert (found.considered, list(found.removed.items())) == (full.considered, list(full.removed.items()))
    assert len(set(short.sample.tolist())) == len(short.sample) == min(128, len(full.rows))
    spread = np.unique(np.linspace(0, len(full.rows) - 1, len(short.sample)).astype(np.int64))
    np.testing.assert_array_equal(found.rows[short.sample], full.rows[spread])
    wanted, gains = worth_asking(release.model, brief.rank_by, full, picks)
    asked, their_gains = worth_asking(release.model, brief.rank_by, found, shown)
    np.testing.assert_array_equal(found.rows[asked], full.rows[wanted])
    np.testing.assert_array_equal(their_gains, gains)
    return full, short


def screened_within_margin(release, brief):
    """Screen everybody; whoever passes must be the plain path's, and no further from the exact order than said.

    Returns:
        Candidates of the plain path and those screened, or None where both refused.
    """
    asked: Asked = ask(release, parse_brief(brief) if isinstance(brief, dict) else brief)
    try:
        full = candidates(release, asked.brief)
    except NothingFits:
        return None
    rows, removed = eligible(asked)
    found, passed = screen(asked, release.prepared, rows, removed)
    np.testing.assert_array_equal(found.rows, full.rows)
    np.testing.assert_array_equal(passed, full.rows)
    assert removed.counts == dict(full.removed)
    np.testing.assert_array_equal(np.isnan(found.order), np.isnan(full.order))
    np.testing.assert_array_equal(found.source, full.source)
    np.testing.assert_array_equal(found.fee_spread, full.fee_spread)
    known = ~np.isnan(full.order)
    off = np.abs(found.order - full.order)[known]
    assert (found.margin[known] >= 0).all()
    assert (off <= found.margin[known]).all(), (off - found.margin[known]).max()
    return full, found


def answers_alike(model, catalogue, briefs):
    """Both comparisons of a model for many briefs; how many of them were answered."""
    release = Release(model, catalogue)
    assert release.prepared is not None
    answered = 0
    for brief in briefs:
        if same_answer(release, brief) is not None:
            screened_within_margin(release, brief)
            answered += 1
    return answered
