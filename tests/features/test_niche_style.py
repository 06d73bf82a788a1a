from datetime import date

import numpy as np
import pytest

from features.context import placement_context
from features.market import STYLES, entity_codes
from features.matrix import NAMES, creator_state, placement_matrix

AS_OF = date(2026, 7, 1)
STYLED = [f"niche_style_{rate}" for rate in ("views_against_usual", "engagement_against_usual", "click_rate",
                                             "sales_rate")]  # fmt: skip


def test_niche_platform_and_style_are_the_same_online_and_without_a_style_zero(encode, messy_frames, online_rows):
    market = encode(messy_frames, AS_OF)
    p = market.placements
    style = market.codes(p.creator, market.profile(p.creator, p.agreed))["style"]
    records = placement_context(market, np.arange(len(p))).records["niche_style"]
    rows = np.concatenate([np.flatnonzero(records["placements"] > 0)[:60], np.flatnonzero(style == -1)[:25]])
    assert set(style[rows]) == {-1, 0, 1}
    columns = [NAMES.index(name) for name in STYLED]
    offline, online = placement_matrix(market, rows)[:, columns], online_rows(market, rows)[:, columns]
    np.testing.assert_array_equal(offline, online)
    assert (offline[style[rows] == -1] == 0).all()
    # each stage speaks where its own outcomes are known, and a record of other cells does not lend itself
    for stage, name in enumerate(("compared", "compared_rates", "seen", "sold")):
        known = records[name][rows] > 0
        assert known.any()
        np.testing.assert_array_equal(offline[:, stage] != 0, known)


def test_a_cell_for_each_niche_platform_and_style_and_none_where_one_is_unknown(messy_market):
    words = messy_market.words
    niches, platforms = len(words.niche), len(words.platform)
    niche, platform, style = (
        axis.ravel() for axis in np.meshgrid(np.arange(-1, niches), np.arange(-1, platforms), [-1, 0, 1])
    )
    codes = {"platform": platform, "style": style, "tier": np.zeros_like(platform)}
    cell = entity_codes(codes, np.zeros(1, dtype=np.int64), niche, words, 1)["niche_style"]
    known = (niche >= 0) & (platform >= 0) & (style >= 0)
    assert (cell[~known] == -1).all()
    assert sorted(cell[known]) == list(range(niches * platforms * STYLES))
    # and the catalogue holds every one of them
    assert len(creator_state(messy_market, 20_600).totals["niche_style"]) == niches * platforms * STYLES


@pytest.mark.parametrize(("polish", "style"), [(0.0, 0), (0.5, 0), (0.500001, 1), (1.0, 1), (np.nan, -1)])
def test_a_style_is_polished_or_not(messy_market, polish, style):
    profile = {"content_polish": np.array([polish]), "follower_count": np.array([1.0])}
    assert messy_market.codes(np.array([0]), profile)["style"].tolist() == [style]
