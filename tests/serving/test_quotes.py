"""Which fees are worth asking for: against slow oracles, at the edges, in the answer, and against asking at random."""

import math
from dataclasses import replace
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.brief import parse_brief
from serving.answers import QuoteWorthAsking
from serving.candidates import Candidates, Scores, candidates
from serving.interval import LEVELS, NORMAL_SCORES, roi_draws
from serving.model import ExtraCost
from serving.quotes import LEAST, MOST, SCORES, worth_asking
from serving.ranking import rank

CONVERSION = {"goal": "conversion", "budget": 50_000, "explain": False}
ORDERS = ("roi", "profit")
NOBODY = ([], [])
FINE = [NormalDist().inv_cdf((i + 0.5) / 4001) for i in range(4001)]


def a_model(level=20.0, elasticity=0.5, floor=1.0, commission=None):
    basis = SimpleNamespace(cost_floor=floor)
    return SimpleNamespace(extra_cost=ExtraCost(level, 100.0, elasticity), basis=basis, commission_rate=commission)


def measured(model, by, value, fee):
    """ROI or profit of one creator, in plain arithmetic."""
    extra = model.extra_cost
    cost = fee + extra.level * (fee / extra.typical_fee) ** extra.elasticity
    return value / max(cost, model.basis.cost_floor) - 1.0 if by == "roi" else value - cost


def market(model, by, value, fee, spread):
    n = len(value)
    value, fee = np.array(value, dtype=float), np.array(fee, dtype=float)
    order = np.array([measured(model, by, v, f) for v, f in zip(value, fee, strict=True)])
    scores = Scores({}, value, fee + model.extra_cost.at(fee), order)
    nothing = np.full(n, np.nan)
    return Candidates(
        np.arange(n), np.zeros((n, 1), dtype=np.float32), fee, np.array(spread, dtype=float), nothing, nothing, nothing,
        scores, order, n, {},
    )  # fmt: skip


def slowly(model, by, found, top, draws):
    """Gains of every candidate by the definition, one creator and one fee at a time, none skipped."""
    ranked = sorted(
        (i for i in range(len(found.order)) if not math.isnan(found.order[i])), key=lambda i: (-found.order[i], i)
    )
    picks, left = ranked[:top], ranked[top:]
    gains = {}
    for i in ranked if len(picks) == top and left else ():
        total = 0.0
        for draw in draws:
            at = measured(model, by, found.scores.value[i], found.fee[i] * math.exp(found.fee_spread[i] * draw))
            total += max(0.0, found.order[left[0]] - at if i in picks else at - found.order[picks[-1]])
        gains[i] = total / len(draws) / top
    last = picks[-1] if picks else 0
    least = LEAST * (found.order[last] + 1 if by == "roi" else found.scores.value[last]) / max(top, 1)
    return gains, least


def asked(model, by, found, top):
    positions, gains = worth_asking(model, by, found, found.best(top))
    return positions.tolist(), gains.tolist()


def drawn(seed, n=60):
    rng = np.random.default_rng(seed)
    fee = rng.lognormal(5, 1, n)
    return fee * rng.lognormal(0.5, 0.6, n), fee, rng.choice([0.0, 0.2, 0.5, 0.8], n)


# --- against the definition


@pytest.mark.parametrize("by", ORDERS)
@pytest.mark.parametrize("top", [1, 8, 40])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gains_are_those_of_a_fine_integral(by, top, seed):
    model = a_model()
    found = market(model, by, *drawn(seed))
    positions, gains = asked(model, by, found, top)
    exact, least = slowly(model, by, found, top, FINE)
    clear = sorted((gain for gain in exact.values() if gain > 1.1 * least), reverse=True)[:MOST]
    assert len(clear) <= len(gains) <= MOST
    # 100 draws cut the far tails off, so that a gain is a little low
    assert gains == pytest.approx([exact[i] for i in positions], rel=0.08)
    assert sum(exact[i] for i in positions[: len(clear)]) == pytest.approx(sum(clear), rel=0.02)


def test_gains_are_those_of_many_draws_at_random():
    model = a_model(elasticity=0.8)
    found = market(model, "roi", *drawn(7))
    positions, gains = asked(model, "roi", found, 8)
    exact, _ = slowly(model, "roi", found, 8, np.random.default_rng(0).standard_normal(20_000).tolist())
    assert len(positions) == MOST
    assert gains == pytest.approx([exact[i] for i in positions], rel=0.05)


def test_a_gain_by_hand_without_extra_cost():
    # the last pick returns 2 per cost, and so does the best one left out: at the fee F it returns 2 exp(-s z)
    model, spread = a_model(level=0.0), 0.4
    found = market(model, "roi", [400, 200, 200], [100, 100, 100], [0, 0, spread])
    normal = NormalDist()
    whole = 2 * (math.exp(spread**2 / 2) * normal.cdf(spread) - 0.5)
    positions, gains = asked(model, "roi", found, 2)
    assert positions == [2]
    assert gains == pytest.approx([whole / 2], rel=0.02)
    # of a pick at the same place: the fee must be above the expected one to lose it
    found = market(model, "roi", [400, 200, 200], [100, 100, 100], [0, spread, 0])
    whole = 2 * (0.5 - math.exp(spread**2 / 2) * normal.cdf(-spread))
    positions, gains = asked(model, "roi", found, 2)
    assert positions == [1]
    assert gains == pytest.approx([whole / 2], rel=0.02)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(ORDERS),
    st.integers(1, 12),
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.5, 40.0, 90.0, 100.0, 110.0, 250.0, 1e4, 1e7]),
            st.sampled_from([0.0, 0.2, 30.0, 100.0, 2000.0, math.nan]),
            st.sampled_from([0.0, 0.1, 0.4, 1.0, 2.0]),
        ),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from([0.0, 0.5, 1.0, 1.7]),
    st.sampled_from([0.0, 25.0]),
)
def test_skipping_changes_nothing(by, top, creators, elasticity, level):
    model = a_model(level=level, elasticity=elasticity)
    found = market(model, by, *zip(*creators, strict=True))
    positions, gains = asked(model, by, found, top)
    exact, least = slowly(model, by, found, top, SCORES.tolist())
    assert gains == pytest.approx([exact[i] for i in positions], rel=1e-9)
    expected = sorted((gain for gain in exact.values() if gain > max(least, 0.0) * (1 + 1e-9)), reverse=True)[:MOST]
    assert gains[: len(expected)] == pytest.approx(expected, rel=1e-9)
    # one more only where it lies on the floor
    assert all(gain == pytest.approx(least, rel=1e-6) for gain in gains[len(expected) :])


def test_an_extra_cost_that_falls_faster_than_the_fee_is_not_skipped():
    # nearly all of the cost: at the lowest fee drawn, 1/13 of the expected one, the cost is 1/80
    model = a_model(level=1e4, elasticity=1.7)
    found = market(model, "roi", [30_000, 20_000, 1_000], [100, 100, 100], [0, 0, 1.0])
    assert asked(model, "roi", found, 2)[0] == [2]


def test_what_is_a_trifle_depends_on_what_the_last_pick_returns():
    # the same profits and about the same doubt in money; of a large value 1 % is more than asking could gain
    model, spread = a_model(level=0.0), [0, 0.1, 0]
    fat = market(model, "profit", [400, 200, 199], [100, 100, 100], spread)
    assert asked(model, "profit", fat, 2)[0] == [1]
    thin = market(model, "profit", [10_400, 10_200, 10_199], [10_100, 10_100, 10_100], [0, 0.01, 0])
    whole = 0.01 * 10_100 / math.sqrt(2 * math.pi)
    assert 0.01 * 100 < whole < 0.01 * 10_200
    assert asked(model, "profit", thin, 2) == NOBODY


def test_the_inputs_are_left_as_they_are():
    model = a_model()
    found = market(model, "roi", *drawn(3))
    before = {name: np.array(getattr(found, name)) for name in ("fee", "fee_spread", "order")}
    worth_asking(model, "roi", found, found.best(8))
    for name, values in before.items():
        np.testing.assert_array_equal(getattr(found, name), values, err_msg=name)


# --- the fee's distribution is that of the intervals


def test_fees_spread_as_the_intervals_spread_costs():
    spread, fee = 0.5, 100.0
    costs = np.sort(1000.0 / (roi_draws(np.array([[1000.0]]), np.array([fee]), np.array([spread]), 1.0)[0] + 1.0))
    fees = np.sort(fee * np.exp(spread * SCORES))
    # the same law, read at the middle of each of its nine parts
    read = np.interp((np.arange(len(costs)) + 0.5) / len(costs), LEVELS, fees)
    np.testing.assert_allclose(costs, read, rtol=2e-3)
    assert np.median(costs) == fee == pytest.approx(np.median(fees), rel=1e-4)
    assert SCORES.max() > NORMAL_SCORES.max()


def test_extra_cost_moves_with_the_fee():
    value, fee, spread = [900, 500, 480], [100, 100, 100], [0, 0, 0.4]
    gains = [asked(a_model(level=100.0, elasticity=e), "roi", market(
        a_model(level=100.0, elasticity=e), "roi", value, fee, spread), 2)[1][0] for e in (0.0, 0.5, 1.0)]  # fmt: skip
    assert gains[0] < gains[1] < gains[2]  # at a fee of 100 the extra cost is the same in all three


# --- who is named


@pytest.mark.parametrize("by", ORDERS)
def test_a_settled_fee_is_not_worth_asking(by):
    model = a_model()
    value, fee, spread = drawn(4)
    assert asked(model, by, market(model, by, value, fee, np.zeros(len(fee))), 8) == NOBODY
    positions, _ = asked(model, by, market(model, by, value, fee, spread), 8)
    assert positions
    assert all(spread[i] > 0 for i in positions)


@pytest.mark.parametrize(
    ("value", "named"),
    [(1990.0, [2]), (1000.0, [2]), (20.0, [])],
    ids=["just below", "half as good", "a hundredth as good"],
)
def test_only_who_can_come_near_the_picks_is_named(value, named):
    model = a_model(level=0.0)
    found = market(model, "roi", [4000, 2000, value], [100, 100, 100], [0, 0, 0.5])
    assert asked(model, "roi", found, 2)[0] == named


@pytest.mark.parametrize("by", ORDERS)
@pytest.mark.parametrize("place", [1, 2], ids=["picked", "left out"])
def test_the_less_is_known_the_more_asking_gains(by, place):
    model, gains = a_model(), []
    for spread in (0.15, 0.3, 0.6, 1.2):
        found = market(model, by, [600, 300, 298], [100, 100, 100], [spread * (i == place) for i in range(3)])
        positions, gain = asked(model, by, found, 2)
        assert positions == [place]
        gains += gain
    assert gains == sorted(gains)
    assert gains[-1] > 5 * gains[0]


def test_at_most_five_best_first_and_no_trifles():
    model = a_model()
    for seed in range(20):
        found = market(model, "roi", *drawn(seed))
        _, gains = asked(model, "roi", found, 8)
        assert 0 < len(gains) <= MOST
        assert gains == sorted(gains, reverse=True)
        assert min(gains) * 8 > LEAST * (found.order[found.best(8)[-1]] + 1)


def test_among_equals_the_first_rows_are_named():
    model = a_model()
    found = market(model, "roi", [900.0] + [300.0] * 30, [100.0] * 31, [0.0] + [0.4] * 30)
    positions, gains = asked(model, "roi", found, 1)
    assert positions == []  # a third of the fee is needed, the lowest drawn is 0.36 of it
    positions, gains = asked(model, "roi", found, 2)
    assert positions == [2, 3, 4, 5, 6]  # row 1 is picked, and loses less by a high fee than they win by a low one
    assert len(set(gains)) == 1


@pytest.mark.parametrize(
    ("by", "top", "commission"),
    [("roi", 60, None), ("profit", 99, None), ("roi", 8, 0.2), ("value", 8, None), ("impressions", 8, None)],
    ids=["all are picked", "more than all", "commission", "by value", "by impressions"],
)
def test_where_no_fee_can_change_the_picks_nobody_is_named(by, top, commission):
    model = a_model(commission=commission)
    found = market(model, by, *drawn(0))
    assert asked(model, by, found, top) == NOBODY


def test_nobody_without_a_fee_is_named_and_unknown_ones_do_not_compete():
    model = a_model()
    value, fee, spread = drawn(1, n=20)
    fee[10:], spread[10:] = np.nan, 0.5
    found = market(model, "roi", value, fee, spread)
    assert set(asked(model, "roi", found, 5)[0]) <= set(range(10))
    # all ten that are known are picked, alone or with unknown ones
    assert asked(model, "roi", found, 10) == asked(model, "roi", found, 15) == NOBODY
    alone = market(model, "roi", value[:10], fee[:10], spread[:10])
    assert asked(model, "roi", found, 5) == asked(model, "roi", alone, 5)


# --- in the answer


def ask(release, **changes):
    return rank(release, parse_brief({**CONVERSION, **changes}), request_id="r")


@pytest.mark.parametrize("changes", [{"top": 5}, {"rank_by": "profit"}, {"goal": "awareness", "explain": True}])
def test_the_answer_names_creators_with_the_fee_to_expect(world, changes):
    answer = ask(world.release, **changes)
    everybody = {pick.creator_id: pick for pick in ask(world.release, **{**changes, "top": 1000}).picks}
    picked = {pick.creator_id for pick in answer.picks}
    found = candidates(world.release, parse_brief({**CONVERSION, **changes}))
    names = world.catalogue.display["creator_id"].gather(found.rows).to_list()
    assert 0 < len(answer.quotes_worth_asking) <= MOST
    for quote in answer.quotes_worth_asking:
        assert quote.fee == pytest.approx(everybody[quote.creator_id].fee)
        assert quote.fee_source == everybody[quote.creator_id].fee_source
        assert quote.picked == (quote.creator_id in picked)
        assert found.fee_spread[names.index(quote.creator_id)] > 0
    gains = [quote.gain for quote in answer.quotes_worth_asking]
    assert gains == sorted(gains, reverse=True)


def test_a_fee_that_is_settled_after_asking_is_not_asked_again(world):
    first = ask(world.release, top=5).quotes_worth_asking
    settled = replace(world.model, price_lines={}, fee=replace(world.model.fee, spread=0.0))
    assert first
    assert ask(replace(world.release, model=settled), top=5).quotes_worth_asking == ()


def test_a_commission_market_and_another_order_have_none(world):
    commission = replace(world.release, model=replace(world.model, commission_rate=0.2))
    assert ask(commission).quotes_worth_asking == ()
    assert ask(world.release, rank_by="value").quotes_worth_asking == ()
    assert ask(world.release, top=1000).quotes_worth_asking == ()


@pytest.mark.parametrize("gain", [0.0, -0.1, float("nan"), float("inf")])
def test_a_gain_is_above_nothing_and_finite(gain):
    with pytest.raises(ValueError, match="gain"):
        QuoteWorthAsking(creator_id="c", fee=1.0, fee_source="estimated", gain=gain, picked=False)


# --- is it worth it?


def reranked(world, brief, found, fees, known):
    """Mean ROI, at the fees drawn, of the picks chosen with the fees of `known` known and the others as expected."""

    def rois(fee):
        value, extra = found.scores.value, world.model.extra_cost.at(fee)
        return value / np.maximum(fee + extra, world.model.basis.cost_floor) - 1.0

    true, order = rois(fees), rois(found.fee)
    order[known] = true[known]
    return true[np.argsort(-order, kind="stable")[: brief.top]].mean()


@pytest.mark.parametrize("goal", ["conversion", "awareness"])
def test_one_fee_known_raises_the_picks_by_its_gain(world, goal):
    """Through the ranking as it is: the fee asked is drawn, everybody ranked again, the others as expected."""
    brief = parse_brief({**CONVERSION, "goal": goal, "top": 6})
    found = candidates(world.release, brief)
    positions, gains = worth_asking(world.model, "roi", found, found.best(6))
    rng = np.random.default_rng(0)
    for position, gain in zip(positions, gains, strict=True):
        rises = []
        for draw in rng.standard_normal(2000):
            fees = np.array(found.fee)
            fees[position] *= math.exp(found.fee_spread[position] * draw)
            rises.append(
                reranked(world, brief, found, fees, [position]) - reranked(world, brief, found, fees, []),
            )
        assert np.mean(rises) == pytest.approx(gain, abs=4 * np.std(rises) / math.sqrt(len(rises)) + 0.03 * gain)


@pytest.mark.parametrize("top", [5, 20])
def test_those_named_are_worth_more_than_as_many_at_random(world, top):
    """Every unsettled fee is drawn; all is judged at the fees drawn. At random: of all, and of those near the picks."""
    brief = parse_brief({**CONVERSION, "top": top})
    found = candidates(world.release, brief)
    named, _ = worth_asking(world.model, "roi", found, found.best(top))
    unsettled = np.flatnonzero((found.fee_spread > 0) & np.isfinite(found.order))
    near = np.intersect1d(unsettled, found.best(3 * top))
    assert len(named) == MOST < len(near) < len(unsettled)
    rng = np.random.default_rng(0)
    rises = []
    for _ in range(1500):
        fees = found.fee * np.exp(found.fee_spread * rng.standard_normal(len(found.fee)))
        questions = (named, rng.choice(near, MOST, replace=False), rng.choice(unsettled, MOST, replace=False))
        before = reranked(world, brief, found, fees, [])
        rises.append([reranked(world, brief, found, fees, known) - before for known in questions])
    of_named, of_near, of_random = np.transpose(rises)
    for other in (of_near, of_random):
        error = (of_named - other).std() / math.sqrt(len(other))
        assert (of_named - other).mean() > 5 * error
    assert of_named.mean() > 5 * of_random.mean()
