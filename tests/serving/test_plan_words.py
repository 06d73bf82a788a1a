from dataclasses import replace

import numpy as np
import pytest

from features.plan_options import parse_plan
from serving.plan_alternatives import best_size, single_sizes
from serving.plan_case import build_case
from serving.plan_offers import plan_offers
from serving.plan_sets import outcome
from serving.plan_solve import solve
from serving.plan_words import SURE, conclusions, notes, posting_order, posting_rule
from tests.serving.random_plans import mixed

ASKED = {"goal": "conversion", "budget": 2500.0, "product_margin": 0.4, "explain": False}


@pytest.fixture(scope="module")
def release(world):
    return mixed(world.release, 2, niches=60)


def planned(release, options=None, **changes):
    ids = release.catalogue.display["creator_id"].sample(30, seed=6).to_list()
    brief = parse_plan({**ASKED, "filters": {"creator_ids": ids}, **changes, "plan": options or {}})
    case = build_case(release, brief, plan_offers(release, brief))
    return case, outcome(case, solve(case.problem, 30.0).chosen)


def with_draws(made, mean, sure):
    """The outcome with values of a mean, all the same or as uncertain as can be."""
    luck = np.linspace(0.0, 2.0, len(made.value_draws)) * (-1) ** np.arange(len(made.value_draws))
    return replace(made, value=mean, value_draws=np.full(len(luck), mean) if sure else mean + 3 * mean * luck)


def said(release, mix, single, *, sure):
    case, made = planned(release, budget=20_000.0)
    sizes = single_sizes(case)
    best = best_size(sizes, case)
    assert not np.array_equal(sizes[best].made.chosen, made.chosen)
    sizes = {**sizes, best: replace(sizes[best], made=with_draws(sizes[best].made, single, True))}
    return best, conclusions(case, with_draws(made, mix, sure), sizes, best)[0]


def test_a_mix_wins_only_where_it_surely_does(release):
    _, clear = said(release, 200.0, 100.0, sure=True)
    assert (clear.question, clear.winner, clear.probability) == ("mix_or_single_tier", "mix", 1.0)
    assert "200" in clear.text
    _, vague = said(release, 200.0, 199.0, sure=False)
    assert vague.winner is None
    assert vague.probability < SURE
    assert "cannot tell" in vague.text


def test_the_same_set_is_no_mix(release):
    case, _ = planned(release)
    sizes = single_sizes(case)
    best = best_size(sizes, case)
    found = conclusions(case, sizes[best].made, sizes, best)[0]
    assert found.winner == best
    assert "Mixing does not help" in found.text


@pytest.mark.parametrize("winner", ["micro", "macro", "mega", "nano", None])
def test_past_placements_name_the_better_size_or_nobody_does(release, winner):
    text = "Past placements speak." if winner else "Past placements are silent."
    card = {**release.model.card, "tiers": {"conversion": {"winner": winner, "text": text}}}
    case, made = planned(replace(release, model=replace(release.model, card=card)))
    sizes = single_sizes(case)
    ahead = "micro_only" if sizes["micro"].made.value >= sizes["macro"].made.value else "macro_only"
    found = conclusions(case, made, sizes, best_size(sizes, case))[-1]
    assert found.question == "micro_or_macro"
    assert found.winner == {"micro": "micro_only", "macro": "macro_only", "mega": "macro_only"}.get(winner)
    assert text in found.text
    assert ("cannot tell" in found.text) == (found.winner is None)
    assert ("it is not ahead" in found.text) == (found.winner not in (None, ahead))
    assert found.probability >= 0.5


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


def test_equal_audiences_post_in_the_order_of_names(release):
    case, made = planned(release)
    offers = replace(case.offers, audience=np.ones(len(case.offers)), ids=case.offers.ids[::-1])
    order = posting_order(replace(case, offers=offers), made)
    assert list(order) == sorted(order)


def test_notes_say_what_is_an_estimate(release):
    case, made = planned(release)
    every = " | ".join(notes(case, made))
    assert "audience overlap" in every
    assert "learnt from past placements" in every
    assert "50% of agreed posts" in " | ".join(notes(*planned(release, {"delivery_rate": 0.5})))
    estimated = int((case.offers.found.fee_spread[made.positions] > 0).sum())
    assert estimated
    assert f"{estimated} of {len(made.positions)} fees may turn out otherwise" in every
    model = replace(release.model, stages={k: v for k, v in release.model.stages.items() if k != "delivery"})
    bare = replace(case, release=replace(release, model=model))
    assert "every post is taken to appear" in " | ".join(notes(bare, made))
    empty = planned(release, rank_by="profit", product_margin=1e-9)
    assert "nobody is worth buying" in " | ".join(notes(*empty))
