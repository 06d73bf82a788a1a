from dataclasses import replace

import numpy as np
import pytest

from features.plan_options import parse_plan
from serving import planning
from serving.candidates import QUANTITIES
from serving.plan_alternatives import best_size, single_sizes
from serving.plan_case import build_case
from serving.plan_foremost import SIZES
from serving.plan_offers import plan_offers
from serving.plan_problem import mask_of
from serving.plan_sets import outcome
from serving.plan_solve import solve
from serving.plan_words import SIZE_WORDS, SURE, brings, conclusions, count, likely, posting_order, posting_rule
from tests.serving.random_plans import mixed

ASKED = {"goal": "conversion", "budget": 2500.0, "product_margin": 0.4, "explain": False}
ORDERS = ["roi", "value", "profit", *QUANTITIES]


@pytest.fixture(scope="module")
def release(world):
    return mixed(world.release, 2, niches=60)


def case_of(release, options=None, **changes):
    ids = release.catalogue.display["creator_id"].sample(30, seed=6).to_list()
    brief = parse_plan({**ASKED, "filters": {"creator_ids": ids}, **changes, "plan": options or {}})
    return build_case(release, brief, plan_offers(release, brief))


def planned(release, options=None, **changes):
    case = case_of(release, options, **changes)
    return case, outcome(case, solve(case.problem, 30.0).chosen)


def told(release, winner, text="conversion: so it was"):
    """The release, as if past placements under the goal had said so."""
    card = {**release.model.card, "tiers": {"conversion": {"winner": winner, "text": text}}}
    return replace(release, model=replace(release.model, card=card))


def with_draws(made, mean, sure):
    """The outcome with values of a mean, all the same or as uncertain as can be."""
    luck = np.linspace(0.0, 2.0, len(made.value_draws)) * (-1) ** np.arange(len(made.value_draws))
    return replace(made, value=mean, value_draws=np.full(len(luck), mean) if sure else mean + 3 * mean * luck)


def spent(case, made):
    return case.problem.cost[made.chosen].sum() / 100


def answered(found, question):
    return next(one for one in found if one.question == question)


# --- what the brief asks for most of


def drawn_by_hand(case, made):
    """Of each draw, what a set brings of what its brief asks for most of: one offer after the other."""
    offers, rank_by = case.offers, case.brief.rank_by
    alone = case.draws(made.positions)
    total, cost = 0.0, 0.0
    for at, value, paid in zip(made.positions, alone.value, alone.cost, strict=True):
        luck = value / offers.found.scores.value[at]
        each = offers.found.scores.expected[rank_by][at] if rank_by in QUANTITIES else offers.found.scores.value[at]
        total, cost = total + luck * each * made.kept[at], cost + paid
    return total - cost if rank_by == "profit" else total


@pytest.mark.parametrize("rank_by", ORDERS)
def test_everything_is_said_in_what_the_brief_asks_for_most_of(release, rank_by):
    case, made = planned(release, budget=20_000.0, rank_by=rank_by)
    sizes = single_sizes(case)
    best = best_size(sizes, case)
    single = sizes[best].made
    expected = {"plan": brings(case, made).expected, **{s: brings(case, one.made).expected for s, one in sizes.items()}}
    for size, one in [("plan", made), *((s, sizes[s].made) for s in sizes)]:
        if rank_by in QUANTITIES:
            amount = (case.offers.found.scores.expected[rank_by] * one.kept)[one.chosen].sum()
        else:
            amount = one.value - (spent(case, one) if rank_by == "profit" else 0.0)
        assert expected[size] == pytest.approx(amount)
    # who is best is who is best by that, not by value
    assert expected[best] == max(expected[size] for size in sizes)
    assert expected[best] <= expected["plan"] * (1 + 1e-3)

    found = conclusions(case, made, sizes, best)
    mix, between = answered(found, "mix_or_single_tier"), answered(found, "micro_or_macro")
    chance = (drawn_by_hand(case, made) > drawn_by_hand(case, single)).mean()
    assert mix.probability == pytest.approx(chance, abs=1e-3)
    units = {"profit": "USD profit", **{name: name for name in QUANTITIES}}
    for said, sides in ((mix, ("plan", best)), (between, ("micro", "macro"))):
        for side in sides:
            amount = expected[side]
            shown = count(amount) if rank_by in QUANTITIES else f"{amount:,.0f}"
            unit = "USD loss" if rank_by == "profit" and amount < 0 else units.get(rank_by, "USD")
            assert f"{shown.removeprefix('-')} {unit}" in said.text


def test_a_quantity_is_as_uncertain_where_a_margin_of_nothing_leaves_no_value(release):
    usual, none = (case_of(release, rank_by="conversions", product_margin=margin) for margin in (0.4, 0.0))
    chosen = mask_of(len(usual.offers), [0, 3, 5])
    one, other = (brings(case, outcome(case, chosen)) for case in (usual, none))
    assert other.expected == pytest.approx(one.expected)
    assert np.std(other.draws) > 0.2 * np.mean(other.draws) > 0


# --- a mix or one tier


def compared(release, mix, single, *, sure, risk=0.0):
    case, made = planned(release, {"risk": risk}, budget=20_000.0)
    sizes = single_sizes(case)
    best = best_size(sizes, case)
    sizes = {**sizes, best: replace(sizes[best], made=with_draws(sizes[best].made, single, True))}
    found = conclusions(case, with_draws(made, mix, sure), sizes, best)
    return best, answered(found, "mix_or_single_tier")


def test_a_mix_wins_only_where_it_surely_does(release):
    best, clear = compared(release, 20_000.0, 10_000.0, sure=True)
    assert (clear.winner, clear.probability) == ("mix", 1.0)
    for words in ("brings more", "20,000 USD", "10,000 USD", f"with {SIZE_WORDS[best]} only", "probability over 99%"):
        assert words in clear.text
    _, vague = compared(release, 20_000.0, 19_900.0, sure=False)
    assert vague.winner is None
    assert vague.probability < SURE
    assert "ahead on average, but the data cannot tell" in vague.text
    assert f"probability {vague.probability:.0%}" in vague.text


def test_a_careful_mix_may_bring_less_on_average_and_equals_are_equal(release):
    _, careful = compared(release, 10_000.0, 20_000.0, sure=True, risk=0.5)
    assert careful.winner is None
    assert careful.probability == 0.0
    assert "On average the mix brings less" in careful.text
    assert "plan.risk" in careful.text
    assert "plan.risk" not in compared(release, 10_000.0, 20_000.0, sure=True)[1].text
    _, equal = compared(release, 0.0, 0.0, sure=True)
    assert (equal.winner, equal.probability) == (None, 0.5)
    assert "bring the same: 0 USD" in equal.text
    assert "ahead" not in equal.text


def test_a_plan_of_one_tier_is_no_mix(release):
    case, _ = planned(release)
    sizes = single_sizes(case)
    best = best_size(sizes, case)
    own = np.flatnonzero(np.isin(case.offers.tier, SIZES[best]))
    # the best of its tier, and a set that is nearly it
    for made in (sizes[best].made, outcome(case, mask_of(len(case.offers), own[:2]))):
        found = answered(conclusions(case, made, sizes, best), "mix_or_single_tier")
        assert (found.winner, found.probability) == (best, None)
        assert f"Mixing does not help here: the best plan is {SIZE_WORDS[best]} only." == found.text


def test_what_each_spends_is_said_where_it_differs(release):
    case, made = planned(release, budget=20_000.0)
    sizes = single_sizes(case)
    best = best_size(sizes, case)
    both = (made, sizes[best].made)
    assert spent(case, both[1]) < 0.9 * spent(case, made)
    found = answered(conclusions(case, made, sizes, best), "mix_or_single_tier")
    for one in both:
        assert f"{one.value:,.0f} USD" in found.text
        assert f"for {spent(case, one):,.0f} USD spent" in found.text
    mine, theirs = (np.flatnonzero(one.chosen & ~other.chosen)[0] for one, other in (both, both[::-1]))
    for cents, differs in ((10_000, False), (9_600, False), (9_400, True)):
        cost = np.zeros(len(case.offers), dtype=np.int64)
        cost[[mine, theirs]] = 10_000, cents
        other = replace(case, problem=replace(case.problem, cost=cost))
        assert ("spent" in answered(conclusions(other, made, sizes, best), "mix_or_single_tier").text) == differs


def test_the_chance_of_the_mix_is_that_of_its_conclusion(release):
    ids = release.catalogue.display["creator_id"].sample(30, seed=6).to_list()
    asked = {**ASKED, "filters": {"creator_ids": ids}}
    answer = planning.plan(release, parse_plan({**asked, "rank_by": "impressions"}), request_id="r")
    said = answered(answer.conclusions, "mix_or_single_tier")
    assert answer.p_mix_beats_single_tier == said.probability is not None
    asked["filters"]["tiers"] = ["micro"]
    answer = planning.plan(release, parse_plan(asked), request_id="r")
    said = answered(answer.conclusions, "mix_or_single_tier")
    assert (said.winner, said.probability, answer.p_mix_beats_single_tier) == ("micro", None, None)


# --- a loss


def test_an_expected_loss_is_said_first_with_what_would_help(release):
    case, made = planned(release, rank_by="value", product_margin=0.001)
    sizes = single_sizes(case)
    best = best_size(sizes, case)
    cost = spent(case, made)
    found = conclusions(case, made, sizes, best)
    assert [one.question for one in found] == ["profit_or_loss", "mix_or_single_tier", "micro_or_macro"]
    assert (found[0].winner, found[0].probability) == (None, None)
    assert f"expected to lose {cost - made.value:,.0f} USD: it costs {cost:,.0f} USD" in found[0].text
    assert "rank_by: profit" in found[0].text
    assert "conversion" in found[0].text
    # also where no single tier can be planned
    nobody = {size: replace(one, made=None) for size, one in sizes.items()}
    assert [one.question for one in conclusions(case, made, nobody, None)] == ["profit_or_loss"]


def test_what_is_forced_may_lose_by_profit_too(release):
    dear = case_of(release, product_margin=0.001)
    name = str(dear.offers.ids[int(np.argmax(dear.problem.cost - dear.offers.found.scores.value * 100))])
    case, made = planned(release, {"must_include": [name]}, rank_by="profit", product_margin=0.001, budget=20_000.0)
    found = conclusions(case, made, single_sizes(case), None)[0]
    assert found.question == "profit_or_loss"
    assert "plan.must_include" in found.text
    assert "rank_by: profit" not in found.text


def test_a_plan_that_pays_or_buys_nobody_says_nothing_of_loss(release):
    paying, made = planned(release)
    assert made.value > spent(paying, made)
    assert "profit_or_loss" not in {one.question for one in conclusions(paying, made, single_sizes(paying), None)}
    case, nobody = planned(release, rank_by="profit", product_margin=1e-9)
    assert not nobody.chosen.any()
    sizes = single_sizes(case)
    assert conclusions(case, nobody, sizes, best_size(sizes, case)) == ()


# --- micro or macro


@pytest.mark.parametrize("winner", ["micro", "macro", "mega", "nano", None])
def test_past_placements_name_the_better_size_or_nobody_does(release, winner):
    case, made = planned(told(release, winner))
    sizes = single_sizes(case)
    both = {size: sizes[size].made for size in ("micro", "macro")}
    ahead, behind = sorted(both, key=lambda size: -both[size].value)
    found = conclusions(case, made, sizes, best_size(sizes, case))[-1]
    assert found.question == "micro_or_macro"
    assert found.winner == {"micro": "micro_only", "macro": "macro_only", "mega": "macro_only"}.get(winner)
    # the chance is that of the winner, or of who is named first
    named = ahead if found.winner is None else found.winner.removesuffix("_only")
    other = {"micro": "macro", "macro": "micro"}[named]
    assert found.probability == pytest.approx((both[named].value_draws > both[other].value_draws).mean(), abs=1e-3)
    assert f"{named} brings more with probability {likely(found.probability)}" in found.text
    assert f"{SIZE_WORDS[ahead]} only is ahead: {both[ahead].value:,.0f} USD expected" in found.text
    assert f"with {SIZE_WORDS[behind]} only" in found.text
    # whose word is which
    assert "past placements (conversion)" in found.text.lower()
    assert "so it was." in found.text
    assert ("favour neither" in found.text) == (winner == "nano")
    assert ("do not tell which size is better in general" in found.text) == (winner is None)
    assert ("it is the other way round" in found.text) == (found.winner not in (None, f"{ahead}_only"))
    assert (f"favour {winner}, all else equal: so it was. For" in found.text) == (found.winner is not None)
    assert "cannot tell" not in found.text


def test_the_past_of_all_goals_speaks_where_the_goal_has_no_winner(release):
    tiers = {"conversion": {"winner": None, "text": "conversion: nothing"},
             "all goals": {"winner": "micro", "text": "all goals: well"}}  # fmt: skip
    card = {**release.model.card, "tiers": tiers}
    case, made = planned(replace(release, model=replace(release.model, card=card)))
    found = conclusions(case, made, single_sizes(case), None)[-1]
    assert found.winner == "micro_only"
    assert "(all goals) favour micro, all else equal: well." in found.text
    bare = replace(release, model=replace(release.model, card={**release.model.card, "tiers": {}}))
    case, made = planned(bare)
    found = conclusions(case, made, single_sizes(case), None)[-1]
    assert found.winner is None
    assert found.text.endswith("which size is better in general.")


def test_the_past_is_compared_by_value_so_it_names_nobody_for_a_quantity(release):
    case, made = planned(told(release, "micro"), rank_by="engagements")
    found = conclusions(case, made, single_sizes(case), None)[-1]
    assert found.winner is None
    assert "compared by value for cost, not by engagements" in found.text


def test_equal_sizes_are_not_ahead_of_each_other(release):
    case, made = planned(told(release, "macro"))
    sizes = single_sizes(case)
    sizes |= {size: replace(sizes[size], made=with_draws(sizes[size].made, 0.0, True)) for size in ("micro", "macro")}
    found = conclusions(case, made, sizes, None)[-1]
    assert found.probability == 0.5
    assert "micro only and macro (100k and up) only bring the same: 0 USD" in found.text
    assert "ahead" not in found.text
    assert "other way round" not in found.text


# --- who posts first


def test_who_posts_first(release):
    case, made = planned(release)
    audience = dict(zip(case.offers.ids.tolist(), case.offers.audience.tolist(), strict=True))
    order = posting_order(case, made)
    assert sorted(order) == sorted(set(case.offers.ids[made.positions].tolist()))
    assert [audience[name] for name in order] == sorted((audience[name] for name in order), reverse=True)
    assert "big creators first" in posting_rule(case)
    together = replace(release.model.together, small_first=True, small_first_campaigns=40, big_first_campaigns=50)
    small = replace(case, release=replace(release, model=replace(release.model, together=together)))
    assert [audience[name] for name in posting_order(small, made)] == sorted(audience[name] for name in order)
    assert "40" in posting_rule(small)
    assert "50" in posting_rule(small)


def test_who_is_bought_twice_is_named_once(release):
    case = case_of(release)
    creator = int(np.argmax(np.bincount(case.offers.creator)))
    twice = outcome(case, case.offers.creator == creator)
    assert len(twice.positions) > 1
    assert posting_order(case, twice) == (case.offers.ids[twice.positions[0]],)


def test_equal_audiences_post_in_the_order_of_names(release):
    case, made = planned(release)
    offers = replace(case.offers, audience=np.ones(len(case.offers)), ids=case.offers.ids[::-1])
    order = posting_order(replace(case, offers=offers), made)
    assert list(order) == sorted(order)
