"""Slots filled to learn: who may fill them, with which chance, and that the fast way draws as the plain one does."""

from collections import Counter

import numpy as np
import pytest

from features.brief import parse_brief
from features.profile import PRICE_SOURCES
from serving.candidates import candidates, possible_rois
from serving.explore import PLACEMENTS, POOL, draw, explored_slots, known_well, upper_bounds
from serving.interval import roi_interval
from serving.ranking import rank
from serving.shortlist import shortlist

ASKED = {"goal": "conversion", "budget": 1e6, "target_countries": {"SG": 0.7, "MY": 0.3}, "top": 20, "seed": 3}


def asked(**changes):
    return parse_brief({**ASKED, **changes})


@pytest.fixture
def plainly(world):
    """The same release, scored the plain way."""
    release = world.release
    release.__dict__["prepared"] = None
    return release


@pytest.mark.parametrize(
    ("share", "top", "slots"), [(0.0, 20, 0), (0.2, 20, 4), (0.3, 10, 3), (0.5, 1, 0), (0.5, 2, 1), (0.19, 5, 0)]
)
def test_a_share_of_the_slots(share, top, slots):
    assert explored_slots(share, top) == slots


@pytest.mark.parametrize("rank_by", ["roi", "profit", "value", "impressions"])
@pytest.mark.parametrize("share", [0.2, 0.5])
@pytest.mark.parametrize("top", [5, 20, 300])
def test_the_fast_way_draws_as_the_plain_one_does(world, plainly, rank_by, share, top):
    brief = asked(rank_by=rank_by, explore_share=share, top=top)
    fast, plain = shortlist(world.release, brief), shortlist(plainly, brief)
    assert fast.explored == plain.explored
    assert fast.chance == plain.chance
    np.testing.assert_array_equal(fast.found.rows[fast.picks], plain.found.rows[plain.picks])


def test_an_answer_says_which_slots_and_with_which_chance(world):
    answer = rank(world.release, asked(explore_share=0.2), request_id="r")
    assert [pick.explore for pick in answer.picks] == [False] * 16 + [True] * 4
    assert {pick.propensity for pick in answer.picks[:16]} == {1.0}
    assert {pick.propensity for pick in answer.picks[16:]} == {1 / POOL}
    assert [pick.rank for pick in answer.picks] == list(range(1, 21))
    assert len({pick.creator_id for pick in answer.picks}) == 20
    assert "high" not in {pick.confidence for pick in answer.picks[16:]}
    best = rank(world.release, asked(top=16), request_id="r")
    assert [pick.creator_id for pick in answer.picks[:16]] == [pick.creator_id for pick in best.picks]


def test_without_exploration_nothing_is_drawn(world):
    one, other = (rank(world.release, asked(seed=seed), request_id="r") for seed in (1, 2))
    assert one == other
    assert {(pick.explore, pick.propensity) for pick in one.picks} == {(False, 1.0)}


def test_a_seed_makes_it_repeatable_and_another_one_or_none_draws_anew(world):
    def drawn(**changes):
        found = shortlist(world.release, asked(explore_share=0.5, **changes))
        return tuple(found.found.rows[found.picks].tolist())

    assert drawn(seed=1) == drawn(seed=1)
    assert drawn(seed=1) != drawn(seed=2)
    assert len({drawn(seed=None) for _ in range(5)}) > 1


def test_everybody_in_the_pool_is_drawn_as_often_as_is_said(world):
    everybody = candidates(world.release, asked())
    counts, rounds = Counter(), 400
    for seed in range(rounds):
        found = shortlist(world.release, asked(explore_share=0.2, top=10, seed=seed))
        counts.update(found.found.rows[found.picks[-2:]].tolist())
        assert found.chance == 2 / 8
    assert len(counts) == 8
    # five standard deviations of a binomial
    spread = 5 * np.sqrt(rounds * 0.25 * 0.75)
    assert all(abs(count - rounds / 4) < spread for count in counts.values())
    # they are the uncertain ones of the highest upper bound, but for those who are picked anyway
    scores = everybody.scores
    upper = upper_bounds(
        world.model, "conversion", "roi", everybody.order, scores.value, scores.cost, everybody.fee_spread
    )
    upper[known_well(everybody.x[:, PLACEMENTS], everybody.source)] = np.nan
    upper[everybody.best(8)] = np.nan
    pool = np.argsort(-np.nan_to_num(upper, nan=-np.inf), kind="stable")[:8]
    assert set(counts) == set(everybody.rows[pool].tolist())


def test_the_upper_bound_is_the_upper_end_of_the_interval_that_is_shown(world):
    found = candidates(world.release, asked())
    scores = found.scores
    upper = upper_bounds(world.model, "conversion", "roi", found.order, scores.value, scores.cost, found.fee_spread)
    _, high, _ = roi_interval(possible_rois(world.model, "conversion", found, np.arange(len(found.rows))))
    above_floor = scores.cost * np.exp(-1.6 * found.fee_spread) > world.model.basis.cost_floor
    assert above_floor.sum() > 300
    np.testing.assert_allclose(upper[above_floor], high[above_floor], rtol=1e-9)


def test_who_is_known_well_has_a_record_and_a_price():
    quoted, estimated = (float(PRICE_SOURCES.index(name)) for name in ("quoted", "estimated"))
    records = np.log1p([3.0, 2.0, 3.0, 0.0])
    source = np.array([quoted, quoted, estimated, quoted])
    assert known_well(records, source).tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("uncertain", "exploited", "slots", "chance"),
    [
        ([True] * 4, [0], 3, 1.0),  # as many as there are
        ([True] * 4, [0, 1, 2, 3], 2, 1.0),
        ([False] * 4, [], 2, 1.0),
        ([True, True, True, False], [], 2, 2 / 3),
    ],
)
def test_a_pool_that_is_small(uncertain, exploited, slots, chance):
    upper = np.array([4.0, 3.0, 2.0, np.inf])
    found = draw(upper, np.array(uncertain), np.array(exploited, dtype=int), slots, np.random.default_rng(0))
    able = [row for row in range(4) if uncertain[row] and row not in exploited]
    assert set(found.slots.tolist()) <= set(able)
    assert len(found.slots) == min(slots, len(able))
    assert found.chance == chance


def test_nobody_unknown_is_drawn():
    upper = np.array([np.nan, 1.0, np.nan])
    found = draw(upper, np.ones(3, dtype=bool), np.array([], dtype=int), 2, np.random.default_rng(0))
    assert found.slots.tolist() == [1]


def test_explored_slots_change_no_question_about_fees(world):
    brief = asked(explore_share=0.2, top=20)
    with_slots = rank(world.release, brief, request_id="r").quotes_worth_asking
    without = rank(world.release, replace_top(brief, 16), request_id="r").quotes_worth_asking
    assert [quote.creator_id for quote in with_slots] == [quote.creator_id for quote in without]


def replace_top(brief, top):
    return parse_brief({**brief.model_dump(mode="json"), "top": top, "explore_share": 0})
