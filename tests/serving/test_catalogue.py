from datetime import date

import numpy as np
import polars as pl
import pytest

from features.errors import DataError
from features.settings import Settings
from serving.artefact import checksum, read_json, write_json
from serving.catalogue import build_catalogue, load_catalogue, save_catalogue


@pytest.fixture(scope="module")
def saved(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("catalogue")
    save_catalogue(world.catalogue, folder)
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    for path in saved.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_saved_and_loaded_arrays_are_bit_equal_and_mapped(world, saved, arrays):
    loaded, built = arrays(load_catalogue(saved).state), arrays(world.catalogue.state)
    assert loaded.keys() == built.keys()
    for name, array in built.items():
        assert loaded[name].dtype == array.dtype, name
        np.testing.assert_array_equal(loaded[name], array, err_msg=name)
        assert isinstance(loaded[name].base, np.memmap), name


def test_everything_else_is_loaded_as_it_was(world, saved):
    loaded, built = load_catalogue(saved), world.catalogue
    assert loaded.display.equals(built.display)
    for name in ("words", "cpm_factors", "tier_names", "currency", "sample_briefs", "data_as_of"):
        assert getattr(loaded, name) == getattr(built, name), name
    np.testing.assert_array_equal(loaded.prior.weights, built.prior.weights)
    assert (loaded.prior.home_share, loaded.prior.known) == (built.prior.home_share, built.prior.known)


def test_a_mapped_array_cannot_be_changed(saved):
    with pytest.raises(ValueError, match="read-only"):
        load_catalogue(saved).state.static[0, 0] = 1.0


def test_it_has_a_row_a_creator_and_says_its_day(world):
    catalogue = world.catalogue
    assert catalogue.display["creator_id"].to_list() == sorted(world.market.creators.frame["creator_id"])
    assert len(catalogue.state) == 402
    assert date.fromisoformat(catalogue.data_as_of).toordinal() - date(1970, 1, 1).toordinal() == world.as_of


def test_tiers_are_by_followers_and_unknown_without(world):
    display, followers = world.catalogue.display, world.catalogue.state.profile["follower_count"]
    for tier, count in zip(display["tier"], followers, strict=True):
        expected = (
            "unknown" if np.isnan(count)
            else "nano" if count < 1e4 else "micro" if count < 1e5 else "macro" if count < 1e6 else "mega"
        )  # fmt: skip
        assert tier == expected
    newcomers = display.filter(pl.col("creator_id").str.starts_with("new-"))
    assert newcomers["tier"].to_list() == newcomers["tier_local"].to_list() == ["unknown", "unknown"]
    assert display.filter(platform="xiaohongshu")["tier_local"].is_in(["koc", "tail", "waist", "head"]).all()


def test_deciding_earlier_shows_less(world):
    earlier = build_catalogue(world.market, world.as_of - 120, Settings())
    history = [c.state.totals["market"][0, 0] for c in (earlier, world.catalogue)]
    assert 0 < history[0] < history[1]
    settled = world.market.placements.settled
    assert history == [(settled < world.as_of - 120).sum(), (settled < world.as_of).sum()]


def test_sample_briefs_are_the_newest_campaign_of_a_goal(world):
    briefs = world.catalogue.sample_briefs
    assert len({brief["goal"] for brief in briefs}) == len(briefs) == 3
    newest = world.market.campaign_frame.sort("starts_on", descending=True)["goal"][0]
    assert briefs[0]["goal"] == newest


def truncate(name):
    def spoil(folder):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return spoil


def one_byte(name):
    def spoil(folder):
        data = bytearray((folder / name).read_bytes())
        data[-20] ^= 1
        (folder / name).write_bytes(data)

    return spoil


def with_json(**changes):
    def spoil(folder):
        data, _ = read_json(folder, "catalogue.json")
        write_json(folder, "catalogue.json", {**data, **changes})

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (truncate("static.npy"), ["cannot be read", "influencer-roi catalogue DIR"]),
        (truncate("list-country-codes.npy"), ["cannot be read", "influencer-roi catalogue DIR"]),
        (truncate("display.arrow"), ["cannot be read", "influencer-roi catalogue DIR"]),
        (truncate("catalogue.json"), ["cannot be read", "influencer-roi catalogue DIR"]),
        (lambda folder: (folder / "code-tier.npy").unlink(), ["code-tier", "influencer-roi catalogue DIR"]),
        (one_byte("static.npy"), ["static.npy is not the file that was saved", "influencer-roi catalogue DIR"]),
        (one_byte("display.arrow"), ["display.arrow is not the file", "influencer-roi catalogue DIR"]),
        (one_byte("catalogue.json"), ["catalogue.json is not the file", "influencer-roi catalogue DIR"]),
        (with_json(creators=7), ["rows differ", "influencer-roi catalogue DIR"]),
        (with_json(feature_schema="0123"), ["schema 0123", "influencer-roi catalogue DIR"]),
        (with_json(format=99), ["influencer-roi catalogue DIR"]),
        (with_json(words={}), ["TypeError", "influencer-roi catalogue DIR"]),
    ],
    ids=["array", "list", "names", "json", "no array", "a byte", "a byte of names", "a byte of json", "rows",
         "features", "format", "words"],
)  # fmt: skip
def test_a_broken_or_foreign_catalogue_is_refused(copied, spoil, words):
    spoil(copied)
    with pytest.raises(DataError) as error:
        load_catalogue(copied)
    for word in words:
        assert word in str(error.value)


def test_a_catalogue_with_an_array_of_other_length_is_refused(copied):
    array = np.load(copied / "profile-price.npy")
    np.save(copied / "profile-price.npy", array[:-1])
    data, _ = read_json(copied, "catalogue.json")
    data["checksums"]["profile-price.npy"] = checksum(copied / "profile-price.npy")
    write_json(copied, "catalogue.json", data)
    with pytest.raises(DataError, match="rows differ .*influencer-roi catalogue DIR"):
        load_catalogue(copied)
