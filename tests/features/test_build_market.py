"""What a market holds of its placements: in the order of their table, and nothing of it where it must not be."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from features.matrix import creator_state, placement_matrix
from features.settings import Settings
from training.sample import write_sample
from training.source import load


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A synthetic market whose placements are in no order."""
    folder = tmp_path_factory.mktemp("market")
    write_sample(folder, creators=100, placements=400, snapshots=4, seed=3, fmt="parquet")
    path = folder / "placements.parquet"
    pl.read_parquet(path).sample(fraction=1.0, shuffle=True, seed=0).write_parquet(path)
    return folder


def test_days_of_posting_and_people_reached_are_as_given(folder):
    given = pl.read_parquet(folder / "placements.parquet")
    p = load(folder, Settings(), None).market.placements
    assert p.ids.to_list() == given["placement_id"].to_list()
    posted = given["posted_at"].to_physical().cast(pl.Float64).fill_null(np.nan)
    np.testing.assert_array_equal(p.posted, posted.to_numpy())
    np.testing.assert_array_equal(p.reach, given["reach"].cast(pl.Float64).fill_null(np.nan).to_numpy())
    for known in (np.isfinite(p.posted), np.isfinite(p.reach)):
        assert 0 < known.sum() < len(p)


def test_no_feature_reads_when_it_was_posted_or_whom_it_reached(folder):
    """Both become known after the booking."""
    loaded = load(folder, Settings(), None)
    p, rng = loaded.market.placements, np.random.default_rng(0)
    other = replace(p, posted=rng.permutation(p.posted), reach=rng.permutation(p.reach))
    market = replace(loaded.market, placements=other)
    np.testing.assert_array_equal(placement_matrix(market), placement_matrix(loaded.market))
    state, same = (creator_state(one, loaded.as_of) for one in (market, loaded.market))
    np.testing.assert_array_equal(state.static, same.static)
    for name, totals in state.totals.items():
        np.testing.assert_array_equal(totals, same.totals[name], err_msg=name)
