"""Who gets picked: shares of picks and spend are those of the answers that are served."""

import json
from dataclasses import replace
from datetime import datetime

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from features.brief import parse_brief
from features.build_market import build_market
from features.money import in_base_currency
from features.reading import typed
from features.settings import Settings
from features.tables import build
from serving.catalogue import build_catalogue
from serving.ranking import rank
from serving.release import Release
from training.dataset import build_dataset
from training.exposure import BRIEFS, KINDS, OTHERS, PICKS, SHOWN, exposure_of, recent_briefs
from training.pipeline import fit_served
from training.sample import make_market
from training.split import EPOCH, labelled, newest_fact
from training.stage_fit import FitOptions


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def market():
    raw = make_market(creators=300, placements=1200, snapshots=4, seed=3)
    frames = {name: typed(name, table)[0] for name, table in raw.items()}
    tables = in_base_currency(build(frames, Settings()), Settings())
    return build_market(tables, Settings(), newest_fact(tables) + 1)


@pytest.fixture(scope="module")
def release(market):
    data = build_dataset(market)
    rows = labelled(market.placements, market.as_of)
    model = fit_served(data, rows, None, FitOptions(trees=3, threads=1))
    return Release(replace(model, card={}), build_catalogue(market, market.as_of, Settings()))


@pytest.fixture(scope="module")
def briefs(market):
    return recent_briefs(market)


@pytest.fixture(scope="module")
def found(release, briefs):
    return exposure_of(release, briefs)


@pytest.fixture(scope="module")
def answers(release, briefs):
    return [rank(release, brief, request_id="test") for brief in briefs]


def of(found, kind, column):
    rows = found.table.filter(pl.col("kind") == kind)
    return dict(zip(rows["member"], rows[column], strict=True))


def test_briefs_are_the_newest_campaigns_that_had_begun(market, briefs):
    assert len(briefs) == BRIEFS
    starts = dict(market.campaign_frame.select("campaign_id", "starts_on").iter_rows())
    asked = [starts[brief.brief_id] for brief in briefs]
    day = datetime.fromordinal(EPOCH.toordinal() + market.as_of)
    begun = sorted((start for start in starts.values() if start < day), reverse=True)
    assert asked == begun[:BRIEFS]
    assert {(brief.top, brief.explain) for brief in briefs} == {(PICKS, False)}


def test_a_campaign_that_is_no_brief_is_left_out(market, briefs):
    broken = market.campaign_frame.with_columns(
        languages=pl.when(pl.col("campaign_id") == briefs[0].brief_id).then(pl.lit(["no language"]))
        .otherwise(pl.col("languages"))
    )  # fmt: skip
    again = recent_briefs(replace(market, campaign_frame=broken))
    assert [brief.brief_id for brief in again] == [brief.brief_id for brief in briefs[1:]]


def test_shares_are_those_of_the_answers_served(found, answers):
    picks = [pick for answer in answers for pick in answer.picks]
    assert (found.briefs, found.picks) == (len(answers), len(picks))
    assert found.creators == len({pick.creator_id for pick in picks})
    assert found.spend == pytest.approx(sum(pick.fee for pick in picks))
    for tier, share in of(found, "tier", "picks").items():
        assert share == pytest.approx(np.mean([pick.tier == tier for pick in picks])), tier
    for tier, share in of(found, "tier", "spend").items():
        assert share == pytest.approx(sum(p.fee for p in picks if p.tier == tier) / found.spend), tier


def test_candidates_are_whom_the_brief_lets_through(release, market):
    everybody = parse_brief({"goal": "awareness", "budget": 1e12, "top": PICKS})
    countries = market.creators.frame["country"].fill_null("unknown").value_counts(name="n")
    expected = {country: n / market.creators.frame.height for country, n in countries.iter_rows()}
    assert of(exposure_of(release, [everybody]), "country", "candidates") == pytest.approx(expected)
    # a brief counts by its picks: one of each kind here
    ours = parse_brief({"goal": "awareness", "budget": 1e12, "top": PICKS, "filters": {"countries": ["US"]}})
    both = of(exposure_of(release, [everybody, ours]), "country", "candidates")
    assert both["US"] == pytest.approx((expected["US"] + 1.0) / 2)


def test_shares_add_up_by_kind(found):
    sums = found.table.group_by("kind").agg(pl.col("candidates", "picks", "spend").sum())
    assert set(sums["kind"]) == set(KINDS)
    for row in sums.drop("kind").iter_rows():
        assert row == pytest.approx((1.0, 1.0, 1.0))


def test_metrics_say_how_far_picks_are_from_candidates(found):
    metrics = found.metrics()
    candidates, picks = of(found, "tier", "candidates"), of(found, "tier", "picks")
    apart = sum(abs(picks[tier] - candidates[tier]) for tier in candidates) / 2
    assert metrics["exposure/tier/apart"] == pytest.approx(apart)
    assert metrics["exposure/tier/micro/picks"] == picks["micro"]
    assert metrics["exposure/creators_picked"] == found.creators / 300
    assert all(np.isfinite(value) for value in metrics.values())


def test_a_brief_for_one_country_moves_picks_to_it(release):
    narrow = {"goal": "awareness", "budget": 1e12, "top": PICKS, "filters": {"countries": ["US"]}}
    found = exposure_of(release, [parse_brief(narrow)])
    assert of(found, "country", "picks") == {"US": 1.0}
    assert of(found, "country", "candidates") == {"US": 1.0}
    assert found.metrics()["exposure/country/apart"] == 0.0


def test_briefs_that_nobody_fits_are_left_out(release, found, briefs):
    nobody = parse_brief({"goal": "awareness", "budget": 1, "filters": {"min_followers": 1e12}})
    again = exposure_of(release, [nobody, *briefs])
    assert again.briefs == found.briefs
    assert again.table.equals(found.table)
    assert exposure_of(release, [nobody]) is None
    assert exposure_of(release, []) is None


def test_the_card_holds_the_largest_of_each_kind(found):
    card = json.loads(json.dumps(found.card()))
    assert list(card["shares"]) == list(KINDS)
    for kind in KINDS:
        named = {member: shares for member, shares in card["shares"][kind].items() if member != OTHERS}
        assert len(named) <= SHOWN
        for member, shares in named.items():
            assert shares["picks"] == of(found, kind, "picks")[member]
        # what is left out is told, so that a table adds up
        members = len(of(found, kind, "picks"))
        assert (OTHERS in card["shares"][kind]) == (members > SHOWN)
        for what in ("candidates", "picks", "spend"):
            assert sum(shares[what] for shares in card["shares"][kind].values()) == pytest.approx(1.0)
    assert list(card["shares"]["country"])[-1] == OTHERS
    sizes = {m: max(c, of(found, "country", "picks")[m]) for m, c in of(found, "country", "candidates").items()}
    shown = [sizes[member] for member in card["shares"]["country"] if member != OTHERS]
    assert shown == sorted(sizes.values(), reverse=True)[: len(shown)]
