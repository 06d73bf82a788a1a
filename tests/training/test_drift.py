import json
import math
from dataclasses import replace

import numpy as np
import pytest

from features.errors import DataError
from training.drift import (
    FILE,
    MIN_CAMPAIGNS,
    Columns,
    Reference,
    State,
    drift_of,
    psi,
    read_reference,
    reference_of,
    save_reference,
)

ALPHA = 0.01


def sample(campaigns=150, size=15, seed=0, shift=0.0, missing=0.1, words=("a", "b", "c"), alike=0.5):
    """Placements whose numbers are alike within a campaign, `alike` of their variance."""
    rng = np.random.default_rng(seed)
    campaign = np.repeat(np.arange(campaigns), size)
    n = len(campaign)
    level = rng.normal(0, math.sqrt(alike), campaigns)[campaign]
    size_ = shift + level + rng.normal(0, math.sqrt(1 - alike), n)
    size_[rng.random(n) < missing] = np.nan
    flag = (rng.random(n) < 0.05).astype(float)
    platform = rng.choice(np.array([*words, ""]), n)
    return Columns({"size": size_, "flag": flag}, {"platform": platform}, campaign)


def states(reference, columns):
    return {one.column: one.state for one in drift_of(reference, columns, ALPHA)}


def found(reference, columns, name):
    return next(one for one in drift_of(reference, columns, ALPHA) if one.column == name)


@pytest.fixture(scope="module")
def reference():
    return reference_of(sample(), {"as_of": "2026-03-01"})


def test_psi_is_the_sum_over_bins():
    p, q = np.array([0.2, 0.5, 0.3]), np.array([0.1, 0.3, 0.6])
    assert psi(p, q) == pytest.approx(sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True)))
    assert psi(p, q) == pytest.approx(psi(q, p))
    assert 0 < psi(np.array([0.9, 0.1]), np.array([1.0, 0.0])) < 1  # an empty bin counts, within limits


def test_bins_hold_tenths_and_what_is_common_has_its_own(reference):
    size, flag = reference.columns["size"], reference.columns["flag"]
    assert size.count == 10
    np.testing.assert_allclose(size.shares, 0.1, atol=0.01)
    assert size.filled.mean[-1] == pytest.approx(0.5, abs=0.01)
    assert sorted(flag.shares[flag.shares > 0].round(2).tolist()) == [0.05, 0.95]
    assert size.apart.mean[0] == pytest.approx(0.1, abs=0.01)


def test_shares_count_each_campaign_once():
    few = Columns({"x": np.array([1.0, 1.0, 1.0, 2.0])}, {}, np.array([0, 0, 0, 1]))
    reference = reference_of(few)
    bins = reference.columns["x"]
    assert bins.shares[bins.shares > 0].tolist() == [0.5, 0.5]
    bigger = Columns({"x": np.array([1.0, 2.0, 2.0, 2.0, 2.0])}, {}, np.array([0, 1, 1, 1, 1]))
    assert found(reference, bigger, "x").missing == 0.0
    assert reference_of(bigger).columns["x"].shares.max() == 0.5


def test_the_same_market_is_well(reference):
    for seed in range(1, 30):
        assert set(states(reference, sample(60, seed=seed)).values()) == {State.OK}


def test_order_of_rows_changes_nothing(reference):
    new = sample(60, seed=4)
    order = np.random.default_rng(0).permutation(len(new.campaign))
    mixed = Columns(
        {name: x[order] for name, x in new.numbers.items()},
        {name: x[order] for name, x in new.names.items()},
        new.campaign[order],
    )
    assert [repr(one) for one in drift_of(reference, mixed, ALPHA)] == [
        repr(one) for one in drift_of(reference, new, ALPHA)
    ]


@pytest.mark.parametrize(
    ("new", "column"),
    [
        (sample(60, seed=1, shift=1.5), "size"),
        (sample(60, seed=1, shift=-1.5), "size"),
        (sample(60, seed=1, missing=0.5), "size"),
        (sample(60, seed=1, words=("a", "b", "c", "newtok")), "platform"),
        (sample(60, seed=1, words=("a", "a", "a", "a", "a", "b")), "platform"),
    ],
)
def test_what_changed_is_named(reference, new, column):
    assert [name for name, state in states(reference, new).items() if state is State.DRIFT] == [column]


def test_less_missing_is_no_harm():
    reference = reference_of(sample(missing=0.5))
    one = found(reference, sample(60, seed=1, missing=0.0), "size")
    assert one.state is State.OK
    assert (one.missing, round(one.missing_before, 1)) == (0.0, 0.5)


def test_new_names_are_told(reference):
    one = found(reference, sample(60, seed=1, words=("a", "b", "newtok", "newtok", "other")), "platform")
    assert one.new_names == ("newtok", "other")
    assert one.new == pytest.approx(0.5, abs=0.05)
    assert found(reference, sample(60, seed=1), "platform").new == 0.0


def test_a_shift_that_a_few_campaigns_may_have_by_chance_is_none():
    alike = {"alike": 0.95, "missing": 0.0}
    reference = reference_of(sample(seed=0, **alike))
    # as rows they would be hundreds, and each of them well beyond chance
    drifted = [
        seed for seed in range(40) if states(reference, sample(MIN_CAMPAIGNS, 40, seed + 1, **alike))["size"] == "DRIFT"
    ]
    assert drifted == []


def test_too_few_campaigns_say_nothing(reference):
    few = sample(MIN_CAMPAIGNS - 1, seed=1, shift=3.0)
    assert set(states(reference, few).values()) == {State.TOO_FEW}
    assert states(reference, sample(MIN_CAMPAIGNS, seed=1, shift=3.0))["size"] is State.DRIFT
    assert set(states(reference_of(few), sample(60)).values()) == {State.TOO_FEW}
    nothing = Columns({"size": np.zeros(0)}, {"platform": np.zeros(0, dtype=str)}, np.zeros(0, dtype=np.int64))
    assert set(states(reference, nothing).values()) == {State.TOO_FEW}


def test_a_column_never_known_is_compared_by_what_is_missing():
    def column(x):
        return Columns({"x": x}, {"word": np.full(len(x), "")}, np.arange(len(x)) % 50)

    reference = reference_of(column(np.full(500, np.nan)))
    assert states(reference, column(np.full(500, np.nan))) == {"x": State.OK, "word": State.OK}
    reference = reference_of(column(np.arange(500.0)))
    assert states(reference, column(np.full(500, np.nan)))["x"] is State.DRIFT


def test_columns_that_training_did_not_have_are_left_out(reference):
    new = sample(60, seed=1)
    assert set(states(reference, replace(new, numbers={**new.numbers, "later": new.numbers["size"]}))) == {
        "size", "flag", "platform",
    }  # fmt: skip


def test_a_reference_is_read_as_it_was_written(reference, tmp_path):
    save_reference(reference, tmp_path)
    again = read_reference(tmp_path)
    assert again.to_json() == reference.to_json()
    assert again.about == {"as_of": "2026-03-01"}
    new = sample(60, seed=1, shift=1.5)
    assert repr(drift_of(again, new, ALPHA)) == repr(drift_of(reference, new, ALPHA))


def test_a_model_without_reference_has_to_be_trained_again(tmp_path):
    folder = tmp_path / "7"
    folder.mkdir()
    with pytest.raises(DataError, match=r"version 7 .*earlier version.*train again"):
        read_reference(folder)


@pytest.mark.parametrize(
    "change", [lambda text: text[:100], lambda text: text.replace("0.1", "0.2", 1), lambda _: "{}"]
)
def test_a_broken_reference_is_refused(reference, tmp_path, change):
    save_reference(reference, tmp_path)
    path = tmp_path / FILE
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match="train again"):
        read_reference(tmp_path)


def test_another_format_is_refused(reference):
    with pytest.raises(ValueError, match="format 99"):
        Reference.from_json({**json.loads(json.dumps(reference.to_json())), "format": 99})
