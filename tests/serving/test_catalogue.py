from datetime import date

import numpy as np
import polars as pl
import pytest

from features.errors import DataError
from features.settings import PlanSettings, Settings
from serving.artefact import checksum, read_json, write_json
from serving.catalogue import build_catalogue, join_catalogues, load_catalogue, save_catalogue, with_overlap


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


def test_overlap_is_loaded_as_it_was_and_mapped(world, saved):
    loaded, built = load_catalogue(saved).overlap, world.catalogue.overlap
    assert loaded.levels == built.levels
    assert len(built.first) > 300
    for name in ("first", "second", "share", "named"):
        array = getattr(loaded, name)
        assert array.dtype == getattr(built, name).dtype
        np.testing.assert_array_equal(array, getattr(built, name))
        assert isinstance(array.base, np.memmap), name


def test_a_catalogue_without_any_pair_is_loaded_too(world, tmp_path):
    table = world.market.audience_overlap.clear()
    save_catalogue(with_overlap(world.catalogue, table, PlanSettings(overlap_same_niche=0.03)), tmp_path)
    overlap = load_catalogue(tmp_path).overlap
    assert len(overlap.first) == len(overlap.named) == 0
    assert overlap.levels.same_niche == pytest.approx(0.03)


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


def pairs_by_id(catalogue, rows):
    """Pairs that share an audience by the ids of their creators: overlap, and whether it was measured."""
    pairs, ids = catalogue.overlaps(rows), catalogue.display["creator_id"][rows].to_list()
    each = zip(pairs.a, pairs.b, pairs.share.tolist(), pairs.measured.tolist(), strict=True)
    return {(ids[a], ids[b]): (share, measured) for a, b, share, measured in each}


def test_measured_pairs_are_those_of_the_table(world):
    table = world.market.audience_overlap.filter(pl.col("overlap") > 0)
    found = pairs_by_id(world.catalogue, np.arange(len(world.catalogue.state)))
    measured = {pair: share for pair, (share, measured) in found.items() if measured}
    assert measured == {(a, b): share for a, b, share in table.iter_rows()}
    assert len(measured) > 300


def test_pairs_that_are_not_measured_have_the_level_of_their_kind(world):
    few = world.market.audience_overlap.head(20)
    catalogue = with_overlap(world.catalogue, few, PlanSettings())
    named = {*few["creator_a"], *few["creator_b"]}
    frame = world.market.creators.frame.select(
        "creator_id", "person_id", "platform", "country", pl.col("niches").list.first()
    )
    levels, expected = catalogue.overlap.levels, {}
    rows = list(frame.iter_rows())
    for at, (a, person_a, platform_a, *kin_a) in enumerate(rows):
        for b, person_b, platform_b, *kin_b in rows[at + 1 :]:
            if a in named and b in named:
                continue
            if person_a is not None and person_a == person_b:
                expected[a, b] = (levels.same_person, False)
            elif None not in kin_a and kin_a == kin_b:
                same = platform_a == platform_b
                expected[a, b] = (levels.same_platform_niche if same else levels.same_niche, False)
    found = pairs_by_id(catalogue, np.arange(len(rows)))
    assert {pair: told for pair, told in found.items() if not told[1]} == expected
    assert {share for share, _ in expected.values()} == set(vars(levels).values())


def test_overlap_with_strangers_and_oneself_is_left_out_and_either_direction_is_one_pair(world):
    a, b, c, d = world.catalogue.display["creator_id"].sample(4, seed=1).sort().to_list()
    table = pl.DataFrame(
        {
            "creator_a": [b, a, a, "nobody", c, d, None],
            "creator_b": [a, b, "nobody", c, c, c, a],
            "overlap": [0.25, 0.75, 0.9, 0.9, 0.9, None, 0.9],
        }
    )
    overlap = with_overlap(world.catalogue, table, PlanSettings()).overlap
    rows = world.catalogue.rows_of([a, b])
    assert overlap.first.tolist() == [rows[0]]
    assert overlap.second.tolist() == [rows[1]]
    assert overlap.share.tolist() == [0.5]
    assert overlap.named.tolist() == rows.tolist()


def test_a_part_has_the_pairs_of_its_creators(world):
    rows = np.random.default_rng(0).permutation(len(world.catalogue.state))[:150]
    part = world.catalogue.part(rows)
    assert pairs_by_id(part, np.arange(150)) == pairs_by_id(world.catalogue, rows)
    assert len(part.overlap.first) > 20


def test_joined_creators_have_no_overlap_until_it_is_learnt_of_all(world):
    half = len(world.catalogue.state) // 2
    parts = [world.catalogue.part(rows) for rows in np.split(np.arange(len(world.catalogue.state)), [half])]
    joined = join_catalogues(parts[::-1])
    assert len(joined.overlap.first) == 0
    again = with_overlap(joined, world.market.audience_overlap, PlanSettings()).overlap
    assert again.levels == world.catalogue.overlap.levels
    np.testing.assert_array_equal(again.share, world.catalogue.overlap.share)
    np.testing.assert_array_equal(again.second, world.catalogue.overlap.second)


def test_overlap_carries_no_day_and_is_always_known(world):
    earlier = build_catalogue(world.market, world.as_of - 120, Settings())
    np.testing.assert_array_equal(earlier.overlap.share, world.catalogue.overlap.share)
    assert earlier.overlap.levels == world.catalogue.overlap.levels


def test_the_niche_shown_is_the_first_one_listed(world):
    listed = world.market.creators.frame["niches"].to_list()
    assert world.catalogue.display["niche"].to_list() == [niches[0] if niches else None for niches in listed]
    assert any(niches and niches[0] != min(niches) for niches in listed)


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
        (one_byte("overlap-share.npy"), ["overlap-share.npy is not the file", "influencer-roi catalogue DIR"]),
        (one_byte("display.arrow"), ["display.arrow is not the file", "influencer-roi catalogue DIR"]),
        (one_byte("catalogue.json"), ["catalogue.json is not the file", "influencer-roi catalogue DIR"]),
        (with_json(creators=7), ["rows differ", "influencer-roi catalogue DIR"]),
        (with_json(feature_schema="0123"), ["schema 0123", "influencer-roi catalogue DIR"]),
        (with_json(format=99), ["influencer-roi catalogue DIR"]),
        (with_json(format=3), ["format 3, not 4", "influencer-roi catalogue DIR"]),
        (with_json(words={}), ["TypeError", "influencer-roi catalogue DIR"]),
        (with_json(overlap_levels={}), ["TypeError", "influencer-roi catalogue DIR"]),
    ],
    ids=["array", "list", "names", "json", "no array", "a byte", "a byte of pairs", "a byte of names", "a byte of json",
         "rows", "features", "format", "earlier format", "words", "levels"],
)  # fmt: skip
def test_a_broken_or_foreign_catalogue_is_refused(copied, spoil, words):
    spoil(copied)
    with pytest.raises(DataError) as error:
        load_catalogue(copied)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("name", ["profile-price.npy", "overlap-second.npy"])
def test_a_catalogue_with_an_array_of_other_length_is_refused(copied, name):
    array = np.load(copied / name)
    np.save(copied / name, array[:-1])
    data, _ = read_json(copied, "catalogue.json")
    data["checksums"][name] = checksum(copied / name)
    write_json(copied, "catalogue.json", data)
    with pytest.raises(DataError, match="rows differ .*influencer-roi catalogue DIR"):
        load_catalogue(copied)
