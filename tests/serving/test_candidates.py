"""Scoring only the creators a brief names must change nothing but the time it takes; and possible ROIs by hand."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from features.brief import parse_brief
from features.errors import DataError
from features.geography import target_share
from features.profile import PRICE_SOURCES
from serving import candidates as module
from serving.candidates import Candidates, Scores, candidates, possible_rois
from serving.filters import NothingFits, Removed, profile_filters
from serving.interval import LEVELS, NORMAL_SCORES, Interval
from serving.promise import Promise
from serving.ranking import rank
from serving.release import Release
from tests.serving.random_plans import on_commission

ASKED = {"goal": "conversion", "budget": 1e6, "product_margin": 0.5, "target_countries": {"SG": 0.7, "MY": 0.3}}
ARRAYS = ("rows", "x", "fee", "source", "share", "credibility", "order")
NOBODY = ("nobody-1", "nobody-2")
BRIEFS = {
    "plain": {},
    "awareness": {"goal": "awareness"},
    "launch without target": {"goal": "launch", "target_countries": {}},
    "by value": {"rank_by": "value"},
    "by impressions": {"rank_by": "impressions", "goal": "engagement"},
    "a deliverable with a price list": {"deliverable": "Reel"},
    "small budget": {"budget": 300.0},
    "platforms": {"platforms": ["tiktok", "instagram"]},
    "tiers and fee": {"filters": {"tiers": ["micro", "macro"], "max_fee": 2000.0}},
    "known prices": {"filters": {"known_price_only": True}},
    "audience": {"filters": {"min_target_share": 0.02, "min_credibility": 0.6}},
    "excluded too": {"filters": {"exclude_creator_ids": ["c000005", "c000012", "c000300"]}},
}


def asked(ids=None, **changes):
    brief = {**ASKED, **changes}
    filters = {**brief.get("filters", {}), **({} if ids is None else {"creator_ids": list(ids)})}
    return parse_brief({**brief, "filters": filters})


@pytest.fixture(scope="module")
def some(world):
    """A third of the catalogue in an order of its own, newcomers among them, and two that are not in it."""
    ids = world.catalogue.display["creator_id"].sample(fraction=0.33, shuffle=True, seed=5).to_list()
    return [*ids, "new-1", "new-2", "c000005", *NOBODY]


def everybody_scored(release, brief, monkeypatch):
    """The same without the short cut: everybody is scored, and the filter leaves the named ones."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "eligible", everybody_eligible)
        return candidates(release, brief)


def everybody_eligible(asked):
    state, removed = asked.release.catalogue.state, Removed(len(asked.release.catalogue.state))
    share = np.broadcast_to(target_share(asked.context(state)), len(state))
    filters = profile_filters(asked.release.catalogue, asked.brief, lambda: share)
    return np.flatnonzero(removed.take(np.ones(len(state), dtype=bool), filters)), removed


def same(one, other):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in ("value", "cost", "roi"):
        np.testing.assert_array_equal(getattr(one.scores, name), getattr(other.scores, name), err_msg=name)
    assert one.scores.expected.keys() == other.scores.expected.keys()
    assert (one.considered, dict(one.removed)) == (other.considered, dict(other.removed))


# --- naming creators


@pytest.mark.parametrize("changes", BRIEFS.values(), ids=BRIEFS)
def test_naming_creators_is_scoring_everybody_and_keeping_those(world, some, monkeypatch, changes):
    brief = asked(some, **changes)
    short, long = candidates(world.release, brief), everybody_scored(world.release, brief, monkeypatch)
    assert len(short.rows) > 5
    same(short, long)
    assert list(short.removed) == list(long.removed)  # the reasons in the same order


@pytest.mark.parametrize("changes", BRIEFS.values(), ids=BRIEFS)
def test_named_creators_have_the_figures_they_have_among_all(world, some, changes):
    among_all, named = candidates(world.release, asked(**changes)), candidates(world.release, asked(some, **changes))
    ids = world.catalogue.display["creator_id"]
    at = np.flatnonzero(ids.gather(among_all.rows).is_in(some).to_numpy())
    np.testing.assert_array_equal(named.rows, among_all.rows[at])
    np.testing.assert_array_equal(named.x, among_all.x[at])
    for name in ("fee", "source", "share", "credibility", "order"):
        np.testing.assert_array_equal(getattr(named, name), getattr(among_all, name)[at], err_msg=name)
    for name, values in among_all.scores.expected.items():
        np.testing.assert_array_equal(named.scores.expected[name], values[at], err_msg=name)


def test_counts_by_hand(world, some):
    display, n = world.catalogue.display, world.catalogue.display.height
    there = display.filter(pl.col("creator_id").is_in(some))
    found = candidates(world.release, asked(some, platforms=["tiktok"]))
    assert found.considered == n
    kept = (there["platform"] == "tiktok").sum()
    assert found.removed == {"creator_ids": n - there.height, "brief_platforms": there.height - kept}
    assert len(found.rows) == kept
    answer = rank(world.release, asked(some, platforms=["tiktok"], explain=False), request_id="r")
    assert (answer.considered, answer.filtered_out) == (n, dict(found.removed))
    assert answer.considered - sum(answer.filtered_out.values()) == kept


def test_picks_are_those_of_everybody_ranked_and_filtered(world, some):
    everybody = rank(world.release, asked(top=1000, explain=False), request_id="r")
    named = rank(world.release, asked(some, top=1000, explain=False), request_id="r")
    expected = [pick for pick in everybody.picks if pick.creator_id in some]
    assert len(expected) == len(set(some)) - len(NOBODY)
    assert [pick.creator_id for pick in named.picks] == [pick.creator_id for pick in expected]
    for pick, other in zip(named.picks, expected, strict=True):
        assert (pick.roi, pick.roi_low, pick.roi_high) == pytest.approx(
            (other.roi, other.roi_low, other.roi_high), rel=1e-4
        )
        assert (pick.fee_source, pick.tier, pick.confidence) == (other.fee_source, other.tier, other.confidence)


@pytest.mark.parametrize("ids", [["c000007"], ["new-2"], ["c000007", "nobody-1"]])
def test_one_creator_alone(world, monkeypatch, ids):
    brief = asked(ids)
    found = candidates(world.release, brief)
    assert world.catalogue.display["creator_id"].gather(found.rows).to_list() == ids[:1]
    same(found, everybody_scored(world.release, brief, monkeypatch))


def test_naming_all_is_naming_nobody(world):
    ids = world.catalogue.display["creator_id"].to_list()
    named, free = candidates(world.release, asked(ids)), candidates(world.release, asked())
    same(named, free)
    assert "creator_ids" not in named.removed


def test_rows_are_ascending_whatever_the_order_of_the_names(world, some):
    forward, backward = (candidates(world.release, asked(ids)) for ids in (some, some[::-1]))
    assert (np.diff(forward.rows) > 0).all()
    np.testing.assert_array_equal(forward.rows, backward.rows)
    np.testing.assert_array_equal(forward.scores.roi, backward.scores.roi)


def test_names_that_nobody_has_leave_nobody(world):
    with pytest.raises(NothingFits, match="filters.creator_ids removed 402") as error:
        candidates(world.release, asked(NOBODY))
    assert error.value.field == "filters.creator_ids"


def test_named_creators_that_another_filter_takes_leave_nobody_and_it_is_the_one_to_relax(world):
    with pytest.raises(NothingFits, match="Relax platforms first") as error:
        candidates(world.release, asked(["new-1", "c000007"], platforms=["a new place"]))
    assert error.value.field == "platforms"


def test_a_brief_that_cannot_be_answered_is_refused_for_named_creators_too(world):
    with pytest.raises(DataError, match="currency: amounts are read and answered in the base currency") as error:
        candidates(world.release, asked(["c000007"], currency="EUR"))
    assert error.value.field == "currency"


def test_the_catalogue_is_not_changed(world, some, arrays):
    before = {name: np.array(values) for name, values in arrays(world.catalogue.state).items()}
    candidates(world.release, asked(some))
    candidates(world.release, asked())
    for name, values in arrays(world.catalogue.state).items():
        np.testing.assert_array_equal(values, before[name], err_msg=name)


# --- the best of them


def some_candidates(order=(), **changes):
    """Made-up candidates whose fee is known; NaN in whatever a test does not give."""
    n = len(order)
    nothing = np.full(n, np.nan)
    made = Candidates(
        rows=np.arange(n), x=np.zeros((n, 1), dtype=np.float32), fee=nothing, fee_spread=np.zeros(n), source=nothing,
        share=nothing, credibility=nothing, scores=Scores({}, nothing, nothing, nothing),
        order=np.array(order, dtype=float), considered=n, removed={},
    )  # fmt: skip
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("order", "top", "expected"),
    [
        ([1, 3, 2], 2, [1, 2]),
        ([1, 3, 2], 9, [1, 2, 0]),
        ([2, 5, 5, 2, 5], 4, [1, 2, 4, 0]),
        ([np.nan, -5, np.nan, -9], 4, [1, 3, 0, 2]),
        ([np.nan, np.nan], 1, [0]),
        ([0.0, -0.0, 0.0], 3, [0, 1, 2]),
    ],
)
def test_the_best_come_first_the_first_row_among_equals_and_unknown_last(order, top, expected):
    assert some_candidates(order).best(top).tolist() == expected


# --- promises


def test_high_returns_are_promised_less_and_stay_in_their_order(world):
    plain = candidates(world.release, asked())
    returns = plain.scores.roi + 1
    bound = float(np.median(returns))
    shy = Release(replace(world.model, promise=Promise(bound, 0.3)), world.catalogue)
    found = candidates(shy, asked())
    np.testing.assert_allclose(found.scores.roi + 1, returns * np.minimum(bound / returns, 1.0) ** 0.3, rtol=1e-9)
    np.testing.assert_array_equal(found.best(len(returns)), plain.best(len(returns)))
    # value, ROI and what is possible are of one promise
    floored = np.maximum(found.scores.cost, world.model.basis.cost_floor)
    np.testing.assert_allclose(found.scores.value, (found.scores.roi + 1) * floored, rtol=1e-9)
    first = found.best(5)
    drawn = [possible_rois(shy.model, "conversion", one, first).mean() for one in (found, plain)]
    assert drawn[0] < drawn[1]


# --- possible ROIs


def test_possible_rois_by_hand(world):
    ratios = np.stack([LEVELS, LEVELS * 3])  # two sizes of expected value
    model = replace(world.model, intervals={"any": Interval(np.array([100.0]), ratios, 50)})
    value, cost = np.array([10.0, 1000.0, np.nan]), np.array([5.0, 0.01, 7.0])
    found = some_candidates([0, 0, 0], scores=Scores({}, value, cost, value / cost - 1))
    draws = possible_rois(model, "local", found, np.array([1, 0, 2]))
    assert draws.shape == (3, 100 * len(NORMAL_SCORES))
    floor = model.basis.cost_floor
    np.testing.assert_allclose(np.unique(draws[0]), np.unique(1000 * LEVELS * 3 / floor - 1), rtol=1e-12)
    np.testing.assert_allclose(np.sort(draws[1])[::9], 10 * LEVELS / 5 - 1, rtol=1e-12)
    assert np.isnan(draws[2]).all()


def test_a_goals_own_interval_is_taken_where_there_is_one(world):
    flat = {"any": np.ones((1, 100)), "local": np.full((1, 100), 2.0)}
    model = replace(world.model, intervals={k: Interval(np.array([]), v, 50) for k, v in flat.items()})
    found = some_candidates([0], scores=Scores({}, np.array([30.0]), np.array([10.0]), np.array([2.0])))
    assert np.unique(possible_rois(model, "local", found, np.array([0]))) == pytest.approx([5.0])
    assert np.unique(possible_rois(model, "awareness", found, np.array([0]))) == pytest.approx([2.0])


def test_what_may_come_is_about_what_is_expected_and_wider_where_the_fee_is_estimated(world):
    found = candidates(world.release, asked())
    picks = np.arange(len(found.rows))
    draws = possible_rois(world.model, "conversion", found, picks)
    assert draws.shape[0] == len(picks)
    assert (draws >= -1).all()
    np.testing.assert_allclose((np.quantile(draws, 0.98, axis=1) > found.scores.roi).mean(), 1.0, atol=0.05)
    width = np.log(np.quantile(draws + 1, 0.9, axis=1) / np.quantile(draws + 1, 0.1, axis=1))
    estimated = found.source == PRICE_SOURCES.index("estimated")
    assert 0 < estimated.sum() < len(picks)
    assert width[estimated].min() > np.median(width[~estimated])


def test_a_part_of_the_candidates_has_the_draws_it_has_among_all(world):
    found = candidates(world.release, asked())
    picks = found.best(7)
    every = possible_rois(world.model, "conversion", found, np.arange(len(found.rows)))
    np.testing.assert_array_equal(possible_rois(world.model, "conversion", found, picks), every[picks])


@pytest.fixture(scope="module")
def commission(few, teach):
    """Creators are paid a fifth of the net revenue and nothing else."""
    net = (pl.col("revenue") - pl.col("refunds").fill_null(0)) * 0.2
    nothing = [pl.lit(None, dtype=pl.Float64).alias(name) for name in ("product_cost", "other_cost")]
    drop = [name for name in ("cost",) if name in few["placements"].columns]
    placements = few["placements"].drop(drop).with_columns(net.alias("fee"), *nothing)
    prices = [name for name in ("price", "price_currency", "price_source") if name in few["creator_snapshots"].columns]
    return teach({**few, "placements": placements, "creator_snapshots": few["creator_snapshots"].drop(prices)})


def test_paid_by_commission_there_is_one_possible_roi_and_it_is_the_expected_one(commission):
    assert commission.model.commission_rate == pytest.approx(0.2)
    found = candidates(commission.release, asked())
    picks = np.array([5, 0, 3])
    draws = possible_rois(commission.model, "conversion", found, picks)
    assert draws.shape == (3, 1)
    np.testing.assert_array_equal(draws[:, 0], found.scores.roi[picks])
    sold = found.fee >= 1
    assert sold.sum() > 20
    # half the revenue is worth something, a fifth of it is paid
    np.testing.assert_allclose(found.scores.roi[sold], 0.5 / 0.2 - 1, rtol=1e-6)


@pytest.mark.parametrize("goal", ["awareness", "engagement", "launch"])
def test_paid_by_commission_a_value_that_is_no_share_of_the_sale_varies(commission, goal):
    found, model = candidates(commission.release, asked(goal=goal)), commission.model
    picks = np.argsort(found.fee)[-5:]
    value, cost = found.scores.value[picks], found.scores.cost[picks]
    np.testing.assert_array_equal(cost, found.fee[picks])
    drawn = model.intervals.get(goal, model.intervals["any"]).draws(value)
    np.testing.assert_allclose(
        np.sort(possible_rois(model, goal, found, picks)),
        np.sort(np.repeat(drawn / np.maximum(cost, 1.0)[:, None] - 1, len(NORMAL_SCORES), axis=1)),
    )
    for pick in rank(commission.release, asked(goal=goal, rank_by="value", top=5), request_id="r").picks:
        assert pick.roi_low < pick.roi_high
        assert pick.p_profit < 1.0


def test_paid_by_commission_and_gifts_only_the_commission_moves(world):
    ratios = np.stack([LEVELS * 2])
    model = replace(
        on_commission(world.release, gifts=10.0).model, intervals={"any": Interval(np.array([]), ratios, 50)}
    )
    scores = Scores({}, np.array([100.0, 0.0]), np.array([50.0, 10.0]), np.array([1.0, -1.0]))
    found = replace(some_candidates([0, 0], scores=scores), fee=np.array([40.0, 0.0]))
    draws = possible_rois(model, "local", found, np.array([0, 1]))
    np.testing.assert_allclose(draws[0], 200 * LEVELS / (80 * LEVELS + 10) - 1)
    np.testing.assert_array_equal(draws[1], -1.0)


def test_paid_by_commission_named_creators_have_the_same_figures(commission, monkeypatch):
    brief = asked(commission.catalogue.display["creator_id"][::4].to_list(), rank_by="value")
    short = candidates(commission.release, brief)
    same(short, everybody_scored(commission.release, brief, monkeypatch))
    assert len(short.rows) == 30


def test_a_release_is_all_it_takes(world):
    found = candidates(Release(world.model, world.catalogue), asked())
    assert found.considered == len(found.rows) + sum(found.removed.values()) == 402
