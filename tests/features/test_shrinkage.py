"""How far records are believed: known variances are found again from pairs of placements."""

import math

import numpy as np
import pytest

from features.record import COLUMNS, PAIRED, PAIRS, STAGES, DayTotals, History, Totals, placement_amounts, run_totals
from features.shrinkage import pair_residuals, shrunk_beyond, shrunk_rate, successive_pairs

LATE = 5_000  # a day by which everything below has settled
LOGS = {"views": ("compared", "log_views_beyond"), "engagement": ("compared_rates", "log_rate_beyond")}
COUNTS = {"clicks": ("seen", "seen_clicks", "seen_views"), "sales": ("sold", "sold_orders", "sold_clicks")}
USUAL_VIEWS, USUAL_RATE = math.log(3_000), math.log(0.04)
# of a third: 2 placements where logs are compared, 3 expected events where events are counted
USUAL_PRIOR = {"views": 2.0, "engagement": 2.0, "clicks": 3.0, "sales": 3.0}


def outcomes(n, **known):
    names = ("impressions", "engagements", "clicks", "conversions", "net_revenue", "value", "cost", "fee",
             "follower_count")  # fmt: skip
    columns = {name: np.full(n, np.nan) for name in names}
    columns |= {"delivered": np.ones(n), "usual_log_views": np.full(n, USUAL_VIEWS)}
    columns |= {"usual_log_rate": np.full(n, USUAL_RATE)}
    return {**columns, **{name: np.broadcast_to(np.asarray(value, float), n) for name, value in known.items()}}


def build_history(entity, settled, amounts) -> History:
    return run_totals(DayTotals.of(entity, settled, amounts))


def pairs_of(settled, amounts, entities, order=None):
    """Pairs of all PAIRED kinds, those not given left empty; shape (p, len(PAIRS))."""
    everybody = np.zeros(len(settled), dtype=np.int64)
    none = np.full(len(settled), -1, dtype=np.int64)
    before = build_history(everybody, settled, amounts).at(everybody, settled)
    order = np.arange(len(settled)) if order is None else order
    residuals, weights = pair_residuals(Totals(amounts, np.arange(len(settled))), before)
    return np.hstack([
        successive_pairs(
            entities.get(name, none), (order, settled), residuals, weights,
            entities.get("creator", none) if name == "person" else None,
        )
        for name in PAIRED
    ])  # fmt: skip


def market_of(settled, amounts, entities, order=None):
    """History of the market: the totals of everybody and the pairs."""
    pairs = pairs_of(settled, amounts, entities, order)
    return build_history(np.zeros(len(settled), dtype=np.int64), settled, np.hstack([amounts, pairs]))


def totals_at(history, day):
    return history.at(np.zeros(1, dtype=np.int64), np.array([day]))


def one(**known):
    """The record of an entity with a single placement."""
    return Totals(placement_amounts(outcomes(1, **known)), np.zeros(1, dtype=np.int64))


EMPTY = Totals(np.zeros((1, len(COLUMNS)), dtype=np.int64), np.zeros(1, dtype=np.int64))
AN_ODD_ONE = {
    "views": {"impressions": 90_000.0},
    "engagement": {"impressions": 3_000.0, "engagements": 2_000.0},
    "clicks": {"impressions": 3_000.0, "clicks": 300.0},
    "sales": {"clicks": 60.0, "conversions": 50.0},
}


def prior_of(market, entity, stage):
    """Placements (of logs) or expected events (of counts) an entity starts with, from what becomes of one placement."""
    own = one(**AN_ODD_ONE[stage])
    if stage in LOGS:
        count, total = LOGS[stage]
        beyond = own[total] - market[total] / market[count]
        return (beyond / shrunk_beyond(own, market, entity, stage)).item() - 1.0
    _, events, exposure = COUNTS[stage]
    expected = own[exposure] * market[events] / market[exposure]
    kept = np.exp(shrunk_rate(own, market, entity, stage))
    return ((own[events] - kept * expected) / (kept - 1.0)).item()


def simulated(stage, variance, seed, creators=600, each=8, noise=1.0, **extra):
    """Placements of creators, in random order over 480 days, whose own effects have a known variance.

    Effects and noise of logs are normal; effects on counts are Gamma with mean 1, the noise is a Poisson's.
    """
    rng = np.random.default_rng(seed)
    creator = np.repeat(np.arange(creators), each)
    n = len(creator)
    settled = 1 + rng.permutation(n) // 10
    effect = rng.normal(0, math.sqrt(variance), creators) if stage in LOGS else np.ones(creators)
    if stage in COUNTS and variance > 0:
        effect = rng.gamma(1 / variance, variance, creators)
    luck = rng.normal(0, math.sqrt(noise), n)
    known = {
        "views": lambda e: {"impressions": np.expm1(USUAL_VIEWS + 0.5 + e + luck)},
        "engagement": lambda e: {"impressions": 999.0, "engagements": 1_000 * np.exp(USUAL_RATE - 0.7 + e + luck)},
        "clicks": lambda e: {"impressions": 500.0, "clicks": rng.poisson(5.0 * e)},
        "sales": lambda e: {"clicks": 20.0, "conversions": rng.poisson(6.0 * e)},
    }[stage](effect[creator])
    return creator, settled, outcomes(n, **{**known, **extra})


@pytest.mark.parametrize("stage", LOGS)
@pytest.mark.parametrize(("variance", "noise"), [(0.1, 0.9), (0.2, 0.2), (1.0, 2.0), (0.8, 0.2)])
def test_what_creators_and_luck_vary_by_is_found_again_where_logs_are_compared(stage, variance, noise):
    creator, settled, known = simulated(stage, variance, seed=1, noise=noise)
    market = totals_at(market_of(settled, placement_amounts(known), {"creator": creator}), LATE)
    alike = 1 / (1 + prior_of(market, "creator", stage))
    assert alike == pytest.approx(variance / (variance + noise), abs=0.04)


@pytest.mark.parametrize("stage", COUNTS)
@pytest.mark.parametrize("variance", [0.05, 0.2, 0.6, 1.5])
def test_what_creators_vary_by_is_found_again_where_events_are_counted(stage, variance):
    creator, settled, known = simulated(stage, variance, seed=2)
    market = totals_at(market_of(settled, placement_amounts(known), {"creator": creator}), LATE)
    assert prior_of(market, "creator", stage) == pytest.approx(1 / variance, rel=0.2)


@pytest.mark.parametrize("stage", STAGES)
def test_where_none_are_alike_records_say_next_to_nothing(stage):
    creator, settled, known = simulated(stage, 0.0, seed=3)
    market = totals_at(market_of(settled, placement_amounts(known), {"creator": creator}), LATE)
    assert prior_of(market, "creator", stage) > 15 * USUAL_PRIOR[stage]


@pytest.mark.parametrize(("stage", "least"), [("views", 0.05 / 0.95), ("clicks", 1 / 3)])
def test_however_alike_placements_are_a_record_is_not_all_there_is(stage, least):
    creator, settled, known = simulated(stage, 6.0, seed=4, noise=0.0)
    market = totals_at(market_of(settled, placement_amounts(known), {"creator": creator}), LATE)
    assert prior_of(market, "creator", stage) == pytest.approx(least, rel=0.02)


@pytest.mark.parametrize("entity", PAIRED)
@pytest.mark.parametrize("stage", STAGES)
def test_without_pairs_the_usual_is_believed(entity, stage):
    """Every entity once."""
    n = 400
    _, settled, known = simulated(stage, 0.5, seed=5, creators=n, each=1)
    market = totals_at(market_of(settled, placement_amounts(known), {entity: np.arange(n)}), LATE)
    assert prior_of(market, entity, stage) == pytest.approx(USUAL_PRIOR[stage], rel=1e-6)


def test_few_pairs_move_the_usual_only_a_little_and_many_leave_nothing_of_it():
    def alike(creators):
        creator, settled, known = simulated("views", 0.0, seed=6, creators=creators, each=2)
        market = totals_at(market_of(settled, placement_amounts(known), {"creator": creator}), LATE)
        return 1 / (1 + prior_of(market, "creator", "views"))

    assert alike(8) == pytest.approx(1 / 3, abs=0.12)
    assert alike(5_000) < 0.05


@pytest.mark.parametrize("stage", COUNTS)
def test_few_pairs_move_the_usual_only_a_little_however_many_events_they_expect(stage):
    """One creator with four placements of some 20 expected events, all others booked once: three pairs."""
    events = np.random.default_rng(15).poisson(20, 400)
    # views are counted at 1 / 11 of them, clicks at a half
    known = {"clicks": {"impressions": 20_000.0, "clicks": events * 11.0},
             "sales": {"clicks": 20.0, "conversions": events * 2.0}}[stage]  # fmt: skip
    creator = np.where(np.arange(400) // 4 == 50, 0, np.arange(1, 401))
    market = market_of(1 + np.arange(400) // 4, placement_amounts(outcomes(400, **known)), {"creator": creator})
    assert 1.5 < prior_of(totals_at(market, LATE), "creator", stage) < 6


@pytest.mark.parametrize("entity", PAIRED)
def test_each_kind_of_entity_is_believed_by_its_own_pairs(entity):
    creator, settled, known = simulated("views", 0.8, seed=7, noise=0.2)
    rng = np.random.default_rng(8)
    entities = {name: rng.integers(0, 600, len(creator)) for name in PAIRED}
    # accounts of a person are told apart by the creator, so that one must be another
    entities |= {entity: creator, "creator": np.arange(len(creator)) if entity == "person" else entities["creator"]}
    entities["creator"] = creator if entity == "creator" else entities["creator"]
    market = totals_at(market_of(settled, placement_amounts(known), entities), LATE)
    for name in PAIRED:
        alike = 1 / (1 + prior_of(market, name, "views"))
        if name == "creator" and entity == "person":
            assert alike == pytest.approx(1 / 3, abs=1e-6)
        else:
            assert alike == pytest.approx(0.8 if name == entity else 0.0, abs=0.05), name


def test_pairs_by_hand():
    """Sales of one creator: 10 counted clicks each; the first placement has nothing to be compared with."""
    settled = np.array([10, 20, 30, 30])
    amounts = placement_amounts(outcomes(4, clicks=20.0, conversions=[2.0, 8.0, 3.0, 9.0]))
    pairs = Totals(np.hstack([amounts, pairs_of(settled, amounts, {"creator": np.zeros(4, int)})]), np.arange(4))
    # half of each order counts: 1, 4, 1.5, 4.5. Expected: none, 1, 2.5 and 2.5, each in units of 1 + a third of it
    one, more = 1 + 1 / 3, 1 + 2.5 / 3
    np.testing.assert_allclose(
        pairs["creator_sales_products"], [0, 0, 3.0 * -1.0 / (one * more), -1.0 * 2.0 / more**2], atol=2e-6
    )
    np.testing.assert_allclose(
        pairs["creator_sales_weights"], [0, 0, 1.0 * 2.5 / (one * more), (2.5 / more) ** 2], atol=2e-6
    )
    others = set(PAIRS) - {"creator_sales_products", "creator_sales_weights"}
    assert all((pairs[name] == 0).all() for name in others)


def test_pairs_of_logs_by_hand():
    """In standard deviations from the mean of at least two placements that had settled before."""
    beyond = np.array([0.3333333, 2.0, 3.0, 5.0, 2.0])
    settled = np.array([1, 2, 3, 4, 4])
    amounts = placement_amounts(outcomes(5, impressions=np.expm1(USUAL_VIEWS + beyond)))
    pairs = Totals(np.hstack([amounts, pairs_of(settled, amounts, {"creator": np.zeros(5, int)})]), np.arange(5))
    third = (3.0 - beyond[:2].mean()) / beyond[:2].std()
    fourth, fifth = ((x - beyond[:3].mean()) / beyond[:3].std() for x in (5.0, 2.0))
    np.testing.assert_allclose(pairs["creator_views_products"], [0, 0, 0, third * fourth, fourth * fifth], atol=2e-5)
    assert pairs["creator_views_weights"].tolist() == [0, 0, 0, 1, 1]


def test_pairs_of_a_person_leave_out_those_of_one_account():
    """Accounts a, a, b, b, a of one person, after a stranger's: pairs are a to b and b to a."""
    creator, person = np.array([9, 0, 0, 1, 1, 0]), np.array([-1, 5, 5, 5, 5, 5])
    settled = np.arange(10, 16)
    amounts = placement_amounts(outcomes(6, clicks=20.0, conversions=2.0))
    pairs = pairs_of(settled, amounts, {"creator": creator, "person": person})
    weights = Totals(np.hstack([amounts, pairs]), np.arange(6))
    assert (weights["person_sales_weights"] > 0).tolist() == [False, False, False, True, False, True]
    assert (weights["creator_sales_weights"] > 0).tolist() == [False, False, True, False, True, True]


@pytest.mark.parametrize("stage", ["views", "clicks"])
def test_accounts_of_a_person_are_not_alike_because_each_is_like_itself(stage):
    creator, settled, known = simulated(stage, 0.8, seed=9, noise=0.2)
    market = totals_at(market_of(settled, placement_amounts(known), {"creator": creator, "person": creator // 2}), LATE)
    assert prior_of(market, "creator", stage) == pytest.approx(0.25 if stage == "views" else 1 / 0.8, rel=0.25)
    assert prior_of(market, "person", stage) > 10
    # so the other accounts say little about an account without a record, though each of them is believed
    others = one(**AN_ODD_ONE[stage])
    said, own = shrunk(stage, EMPTY, market, "creator", others), shrunk(stage, others, market, "creator", None)
    assert said == shrunk(stage, others, market, "person", None)
    assert 0 < said < 0.7 * own


def test_a_placement_counts_from_the_day_after_it_settled():
    rng = np.random.default_rng(10)
    n, day = 300, 60
    settled = rng.integers(1, 100, n)
    settled[0] = day
    known = outcomes(n, impressions=rng.lognormal(8, 1, n), engagements=rng.lognormal(5, 1, n),
                     clicks=rng.poisson(20, n), conversions=rng.poisson(3, n))  # fmt: skip
    entities = {name: rng.integers(0, 12, n) for name in PAIRED}

    def at(asked, rows, changed=None):
        amounts = placement_amounts({**known, **(changed or {})})
        history = market_of(settled[rows], amounts[rows], {k: v[rows] for k, v in entities.items()}, rows)
        return totals_at(history, asked).values[0, len(COLUMNS) :]

    every, without = np.arange(n), np.arange(1, n)
    bigger = {name: known[name] * np.where(every == 0, 3.0, 1.0) for name in ("impressions", "engagements", "clicks")}
    np.testing.assert_array_equal(at(day, every), at(day, without))
    np.testing.assert_array_equal(at(day, every), at(day, every, bigger))
    assert (at(day + 1, every) != at(day + 1, without)).mean() > 0.9
    # orders are not changed
    unsold = np.array(["sales" not in name for name in PAIRS])
    assert (at(day + 1, every) != at(day + 1, every, bigger))[unsold & np.char.endswith(PAIRS, "products")].all()


def test_the_order_of_rows_changes_no_pair():
    rng = np.random.default_rng(11)
    n = 400
    settled = rng.integers(1, 30, n)
    amounts = placement_amounts(outcomes(n, impressions=rng.lognormal(8, 1, n), engagements=rng.lognormal(5, 1, n),
                                         clicks=rng.poisson(20, n), conversions=rng.poisson(3, n)))  # fmt: skip
    entities = {name: rng.integers(-1, 8, n) for name in PAIRED}
    ids, rows = rng.permutation(n), rng.permutation(n)
    straight = pairs_of(settled, amounts, entities, ids)
    shuffled = pairs_of(settled[rows], amounts[rows], {k: v[rows] for k, v in entities.items()}, ids[rows])
    np.testing.assert_array_equal(straight[rows], shuffled)
    # of those that settle on one day, the order given decides
    assert (straight != pairs_of(settled, amounts, entities, rows)).any()


def test_no_placements_no_pairs():
    none = np.empty(0, dtype=np.int64)
    amounts = placement_amounts(outcomes(0))
    assert pairs_of(none, amounts, dict.fromkeys(PAIRED, none)).shape == (0, len(PAIRS))


def made_odd(known, rows, **numbers):
    changed = {name: np.array(known[name]) for name in numbers}
    for name, number in numbers.items():
        changed[name][rows] = number
    return {**known, **changed}


@pytest.mark.parametrize(
    ("stage", "numbers"),
    [
        ("views", {"impressions": 1e9}),
        ("engagement", {"engagements": 1e9}),
        ("clicks", {"clicks": 60.0}),
        ("sales", {"conversions": 80.0}),
    ],
)
def test_two_odd_placements_of_one_creator_do_not_decide(stage, numbers):
    creator, settled, known = simulated(stage, 0.3, seed=12)
    plain = prior_of(totals_at(market_of(settled, placement_amounts(known), {"creator": creator}), LATE),
                     "creator", stage)  # fmt: skip
    mine = np.flatnonzero(creator == 7)
    mine = mine[np.argsort(settled[mine], kind="stable")][3:5]
    odd = placement_amounts(made_odd(known, mine, **numbers))
    market = totals_at(market_of(settled, odd, {"creator": creator}), LATE)
    assert prior_of(market, "creator", stage) == pytest.approx(plain, rel=0.15)


@pytest.mark.parametrize("number", [1e9, 1e-9])
@pytest.mark.parametrize("share", [0.001, 0.3, 1.0])
def test_pairs_of_odd_values_do_not_overflow(number, share):
    """Sums in floats, of which integers in millionths must not be a wrapped copy; 5,000 placements."""
    rng = np.random.default_rng(13)
    creator, settled, known = simulated("clicks", 0.3, seed=13, creators=500, each=10)
    n = len(creator)
    known = {**known, "engagements": rng.lognormal(3, 1, n), "conversions": rng.poisson(1.0, n).astype(float)}
    for name in ("impressions", "engagements", "clicks", "conversions"):
        known = made_odd(known, np.flatnonzero(rng.random(n) < share), **{name: number})
    entities = {**dict.fromkeys(PAIRED, creator), "person": creator // 2}
    with np.errstate(all="raise", under="ignore"):
        pairs = pairs_of(settled, placement_amounts(known), entities)
    total = totals_at(build_history(np.zeros(n, dtype=np.int64), settled, np.hstack([placement_amounts(known), pairs])),
                      LATE)  # fmt: skip
    for name, amounts in zip(PAIRS, pairs.T.astype(float), strict=True):
        assert total[name].item() == pytest.approx(math.fsum(amounts) / 1e6, rel=1e-9, abs=1e-6)
        assert name.endswith("products") or total[name].item() >= 0


def test_pairs_of_a_large_market_with_odd_clicks_do_not_overflow():
    """100,000 placements of which ten were typed with a thousand million clicks."""
    n = 100_000
    clicks = np.full(n, 100.0)
    clicks[5:15] = 1e9
    settled = 1 + np.arange(n) // 100
    amounts = placement_amounts(outcomes(n, impressions=10_000.0, clicks=clicks))
    pairs = pairs_of(settled, amounts, {"creator": np.arange(n) % 1_000})
    history = build_history(np.zeros(n, dtype=np.int64), settled, np.hstack([amounts, pairs]))
    column = PAIRS.index("creator_clicks_weights")
    exact = math.fsum(pairs[:, column].astype(float)) / 1e6
    assert totals_at(history, LATE)["creator_clicks_weights"].item() == pytest.approx(exact, rel=1e-9)


def usual_market():
    """A market without pairs: 1,000 placements with the usual views, 4 % engagement, 1 % clicks, a fifth of buyers."""
    rng = np.random.default_rng(14)
    n = 1_000
    known = outcomes(n, impressions=rng.lognormal(8, 1, n), clicks=20.0, conversions=4.0)
    known["engagements"] = known["impressions"] * rng.lognormal(-3, 0.5, n)
    amounts = placement_amounts(known)
    return totals_at(market_of(np.arange(n), amounts, {}), LATE)


def record(times, factor):
    """A record of equal placements, `factor` times as good as the market's in every stage."""
    market = usual_market()
    views = math.expm1(USUAL_VIEWS + (market["log_views_beyond"] / market["compared"]).item() + math.log(factor))
    rate = math.exp(USUAL_RATE + (market["log_rate_beyond"] / market["compared_rates"]).item() + math.log(factor))
    clicks = views * (market["seen_clicks"] / market["seen_views"]).item() * factor
    amounts = placement_amounts(outcomes(
        times, impressions=views, engagements=rate * (1 + views), clicks=clicks, conversions=clicks * 0.2 * factor
    ))  # fmt: skip
    return Totals(amounts.sum(axis=0, keepdims=True), np.zeros(1, dtype=np.int64))


def shrunk(stage, *arguments):
    own, market, entity, others = arguments
    return (shrunk_beyond if stage in LOGS else shrunk_rate)(own, market, entity, stage, others).item()


@pytest.mark.parametrize("stage", STAGES)
def test_without_any_history_a_record_says_nothing(stage):
    market = usual_market()
    assert shrunk(stage, EMPTY, market, "creator", None) == 0.0
    assert shrunk(stage, EMPTY, market, "creator", EMPTY) == 0.0
    # nor does it where the market itself has none
    nothing = Totals(np.zeros((1, len(COLUMNS) + len(PAIRS)), dtype=np.int64), np.zeros(1, dtype=np.int64))
    assert shrunk(stage, EMPTY, nothing, "creator", EMPTY) == 0.0


@pytest.mark.parametrize("stage", STAGES)
def test_an_account_without_history_takes_on_that_of_the_persons_other_accounts(stage):
    market = usual_market()
    for factor in (3.0, 1 / 3):
        others = record(10, factor)
        towards = shrunk(stage, others, market, "person", None)
        assert 0.4 < towards / math.log(factor) < 1.0
        assert shrunk(stage, EMPTY, market, "creator", others) == pytest.approx(towards, rel=1e-12)


@pytest.mark.parametrize("stage", STAGES)
def test_an_account_with_much_of_its_own_hardly_minds_the_others(stage):
    market = usual_market()
    others = record(50, 4.0)
    own = {times: record(times, 1.0) for times in (1, 3, 300)}
    drawn = [shrunk(stage, mine, market, "creator", others) for mine in (EMPTY, *own.values())]
    assert drawn == sorted(drawn, reverse=True)
    assert drawn[0] > 0.7
    assert abs(drawn[-1]) < 0.02
    assert shrunk(stage, own[300], market, "creator", None) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("stage", STAGES)
def test_a_record_is_believed_by_what_is_left_of_the_prior(stage):
    """n placements x times as good as the market: the formula, written out."""
    market, n, factor = usual_market(), 6, 2.5
    own, prior = record(n, factor), USUAL_PRIOR[stage]
    if stage in LOGS:
        want = math.log(factor) * n / (n + prior)
    else:
        _, events, exposure = COUNTS[stage]
        expected = own[exposure].item() * (market[events] / market[exposure]).item()
        want = math.log((own[events].item() + prior) / (expected + prior))
    assert shrunk(stage, own, market, "creator", None) == pytest.approx(want, rel=1e-4)
