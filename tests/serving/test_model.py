from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from features.errors import DataError
from features.matrix import NAMES
from serving.artefact import read_json, write_json
from serving.model import CHAIN, FORMAT, load_model, save_model
from serving.stage import Stage, Trees
from serving.together import Together


@pytest.fixture(scope="module")
def saved(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_model(world.model, folder)
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    for path in saved.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def placements(frames, *changes):
    return {**frames, "placements": frames["placements"].with_columns(*changes)}


def empty(*names):
    return [pl.lit(None, dtype=pl.Float64).alias(name) for name in names]


# --- artefact


def test_an_artefact_predicts_bit_equal_to_the_model(world, saved):
    again, x = load_model(saved), world.data.x
    assert any(stage.trees for stage in again.stages.values())
    for quantity, expected in world.model.expected(x).items():
        np.testing.assert_array_equal(again.expected(x)[quantity], expected, err_msg=quantity)
    np.testing.assert_array_equal(again.peer_fee(x), world.model.peer_fee(x))


@pytest.mark.parametrize("others", [(), (-0.3,), (-0.3, 1.7)])
def test_an_artefact_keeps_every_ensemble_of_every_stage(world, tmp_path, others):
    """As many ensembles a stage as it may have, none shared between stages, in their order."""
    texts = [trees.text for stage in (*world.model.stages.values(), world.model.fee) for trees in stage.trees]
    assert len(set(texts)) > 4
    given = {
        name: replace(stage, trees=tuple(Trees(texts[(k + j) % len(texts)], weight) for j, weight in enumerate(others)))
        for k, (name, stage) in enumerate([*world.model.stages.items(), ("fee", world.model.fee)])
    }
    model = replace(world.model, stages={n: s for n, s in given.items() if n != "fee"}, fee=given["fee"])
    save_model(model, tmp_path)
    again, x = load_model(tmp_path), world.data.x
    for name, stage in {**again.stages, "fee": again.fee}.items():
        assert stage.trees == given[name].trees, name
    for quantity, expected in model.expected(x).items():
        np.testing.assert_array_equal(again.expected(x)[quantity], expected, err_msg=quantity)
    np.testing.assert_array_equal(again.peer_fee(x), model.peer_fee(x))
    files = {f"{name}.{k}.txt" for name in given for k in range(len(others))}
    assert {path.name for path in tmp_path.iterdir()} == {"model.json", "model.json.sha256", *files}


def test_an_artefact_keeps_everything_else(world, saved):
    again = load_model(saved)
    for name in ("version", "settings", "basis", "typical_fee", "price_lines", "extra_cost", "commission_rate",
                 "overridden_goals", "card", "levels"):  # fmt: skip
        assert getattr(again, name) == getattr(world.model, name), name
    assert list(again.stages) == list(world.model.stages)
    for goal, interval in world.model.intervals.items():
        np.testing.assert_array_equal(again.intervals[goal].ratios, interval.ratios)


@pytest.mark.parametrize(
    "together", [Together(), Together(0.12, 40, 500, 3.1, 0.8, 31, 42, -2.7, True, 30, 33, 2.9, 0.78, 400)]
)
def test_an_artefact_keeps_what_placements_share(world, tmp_path, together):
    save_model(replace(world.model, together=together), tmp_path)
    assert load_model(tmp_path).together == together


def test_nothing_is_pickled(saved):
    assert {path.suffix for path in saved.iterdir()} == {".json", ".sha256", ".txt"}


def with_json(change):
    def spoil(folder):
        data, _ = read_json(folder, "model.json")
        change(data)
        write_json(folder, "model.json", data)

    return spoil


def swapped(one, other):
    def spoil(folder):
        texts = [(folder / name).read_bytes() for name in (one, other)]
        for name, text in zip((other, one), texts, strict=True):
            (folder / name).write_bytes(text)

    return spoil


def cut(name):
    def spoil(folder):
        text = (folder / name).read_text()
        (folder / name).write_text(text[: len(text) // 2])

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (with_json(lambda d: d.update(feature_schema="0123", feature_names=[*NAMES[1:], "old_one"])),
         ["schema 0123", "old_one", NAMES[0], "train again"]),
        (with_json(lambda d: d.update(format=99)), ["format 99", "train again"]),
        (with_json(lambda d: d.update(format=FORMAT - 1)), [f"format {FORMAT - 1}", "train again"]),
        (with_json(lambda d: d["stages"]["engagements"]["weights"].append(0.5)), ["cannot be read", "train again"]),
        (with_json(lambda d: d["stages"]["engagements"]["weights"].pop()), ["cannot be read", "train again"]),
        (with_json(lambda d: d["stages"]["engagements"].pop("weights")), ["KeyError", "train again"]),
        (with_json(lambda d: d["trees"].pop("engagements.1.txt")), ["KeyError", "train again"]),
        (with_json(lambda d: d.pop("levels")), ["KeyError", "train again"]),
        (with_json(lambda d: d.pop("together")), ["KeyError", "train again"]),
        (with_json(lambda d: d["together"].update(luck=1)), ["TypeError", "train again"]),
        (with_json(lambda d: d["settings"].update(nonsense=1)), ["train again"]),
        (cut("model.json"), ["model.json is not the file that was saved", "train again"]),
        (lambda folder: (folder / "model.json.sha256").unlink(), ["saved by an earlier version", "train again"]),
        (cut("engagements.0.txt"), ["cannot be read", "train again"]),
        (cut("engagements.1.txt"), ["cannot be read", "train again"]),
        (swapped("engagements.0.txt", "engagements.1.txt"), ["cannot be read", "train again"]),
        (lambda folder: (folder / "engagements.0.txt").unlink(), ["cannot be read", "train again"]),
        (lambda folder: (folder / "engagements.1.txt").unlink(), ["FileNotFoundError", "train again"]),
        (lambda folder: (folder / "engagements.0.txt").write_text(""), ["cannot be read", "train again"]),
        (lambda folder: (folder / "model.json").unlink(), ["FileNotFoundError", "train again"]),
    ],
    ids=["features", "format", "last format", "more weights", "fewer weights", "no weights", "no digest", "key",
         "no together", "other together",
         "settings", "json", "no checksum", "trees", "second trees", "swapped trees", "no trees", "no second trees",
         "empty trees", "no json"],
)  # fmt: skip
def test_a_broken_or_foreign_artefact_is_refused(world, copied, spoil, words):
    assert len(world.model.stages["engagements"].trees) == 2
    spoil(copied)
    with pytest.raises(DataError) as error:
        load_model(copied)
    for word in words:
        assert word in str(error.value)


# --- expectations


def test_expected_quantities_chain(world):
    model, x = world.model, world.data.x[:200]
    design = model.scaler.design(x)
    raw, expected = {"one": np.ones(200)}, model.expected(x)
    for quantity in [name for name in CHAIN if name in model.stages]:
        stage = model.stages[quantity]
        raw[quantity] = np.exp(stage.log_rate(x, design)) * raw[stage.exposure]
        if quantity == "delivery":
            raw[quantity] = np.minimum(raw[quantity], 1.0)
        np.testing.assert_allclose(expected[quantity], raw[quantity] * model.levels.get(quantity, 1.0), rtol=1e-12)
    assert {"delivery", "impressions", "engagements", "clicks", "conversions", "net_revenue"} <= set(expected)


def test_delivery_is_at_most_sure(world):
    sure = replace(world.model.stages["delivery"], intercept=3.0)
    stages = {**world.model.stages, "delivery": sure}
    expected = replace(world.model, stages=stages, levels={}).expected(world.data.x[:300])
    assert set(expected["delivery"]) == {1.0}
    alone = Stage("impressions", "one", *(getattr(stages["impressions"], name) for name in (
        "intercept", "coef", "trees", "spread", "rows")))  # fmt: skip
    unexposed = replace(world.model, stages={"impressions": alone}, levels={}).expected(world.data.x[:300])
    np.testing.assert_array_equal(expected["impressions"], unexposed["impressions"])


def test_the_sum_of_expectations_is_near_the_sum_of_outcomes(world):
    rows = np.flatnonzero(world.market.placements.settled < world.as_of)
    expected = world.model.expected(world.data.x[rows])
    for quantity in ("impressions", "engagements", "net_revenue"):
        actual = world.data.labels.columns[quantity][rows]
        actual = np.where(world.market.placements.delivered[rows] > 0, actual, 0.0)
        known = np.isfinite(actual)
        assert 0.6 < expected[quantity][known].sum() / actual[known].sum() < 1.6, quantity


def test_predictions_do_not_change_their_input(world):
    x = world.data.x.copy()
    world.model.expected(x)
    world.model.peer_fee(x)
    np.testing.assert_array_equal(x, world.data.x)


def test_the_path_to_a_goal_ends_at_delivery(world):
    assert [s.quantity for s in world.model.path_to("awareness")] == ["impressions", "delivery"]
    assert [s.quantity for s in world.model.path_to("conversion")] == [
        "net_revenue", "conversions", "clicks", "impressions", "delivery"]  # fmt: skip


# --- what the data can teach


def test_without_clicks_conversions_collapse_onto_impressions(few, teach):
    model = teach(placements(few, *empty("clicks"))).model
    assert "clicks" not in model.stages
    assert model.stages["conversions"].exposure == "impressions"
    assert model.stages["net_revenue"].exposure == "conversions"


def test_without_impressions_revenue_collapses_onto_delivery(few, teach):
    lost = empty("impressions", "engagements", "likes", "comments", "shares", "saves", "clicks", "conversions")
    model = teach(placements(few, *lost)).model
    assert set(model.stages) == {"delivery", "net_revenue"}
    assert model.stages["net_revenue"].exposure == "delivery"
    model.require("conversion")
    with pytest.raises(DataError, match="goal awareness needs impressions") as error:
        model.require("awareness")
    assert error.value.field == "goal"


def test_sales_missing_for_most_do_not_cost_the_other_stages_a_row(few, teach):
    full = teach(few).model
    few_sales = [
        pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.col(name)).alias(name)
        for name in ("clicks", "conversions", "revenue", "refunds")
    ]
    model = teach(placements(few, *few_sales)).model
    assert model.stages["impressions"].rows == full.stages["impressions"].rows
    assert model.stages["engagements"].rows == full.stages["engagements"].rows
    assert 50 <= model.stages["net_revenue"].rows < 0.5 * full.stages["net_revenue"].rows


@pytest.mark.parametrize(
    ("lost", "goal", "words"),
    [
        (["revenue", "refunds"], "conversion", "net_revenue"),
        (["revenue", "refunds"], "launch", "net_revenue"),
        (["revenue", "refunds"], "local", "net_revenue"),
        (["engagements", "likes", "comments", "shares", "saves"], "engagement", "engagements"),
    ],
)
def test_a_goal_the_data_lack_is_refused(few, teach, lost, goal, words):
    with pytest.raises(DataError, match=f"{goal} needs .*{words}") as error:
        teach(placements(few, *empty(*lost))).model.require(goal)
    assert error.value.field == "goal"


def test_a_goal_whose_value_the_data_give_is_learnt_from_it(few, teach):
    goals = few["placements"].join(few["campaigns"], on="campaign_id", how="left", maintain_order="left")["goal"]
    given = pl.when(goals == "local").then(pl.col("fee") * 3 + 7).alias("value")
    model = teach(placements(few, given, *empty("revenue", "refunds", "conversions"))).model
    assert model.overridden_goals == ("local",)
    assert [stage.quantity for stage in model.path_to("local")] == ["value"]
    model.require("local")
    with pytest.raises(DataError, match="conversion needs net_revenue"):
        model.require("conversion")


def test_nothing_to_learn_from_is_said(few, teach):
    every = ["impressions", "engagements", "likes", "comments", "shares", "saves", "clicks", "conversions", "revenue"]
    with pytest.raises(DataError, match="too few settled outcomes .* at least 50 placements"):
        teach(placements(few, *empty(*every)))


def test_commission_only_data_have_no_fee_to_estimate(few, teach):
    net = pl.col("revenue") - pl.col("refunds").fill_null(0)
    model = teach(placements(few, (net * 0.2).alias("fee"), *empty("cost", "product_cost", "other_cost"))).model
    assert model.commission_rate == pytest.approx(0.2)
    assert (model.fee, model.typical_fee, model.extra_cost.level, model.price_lines) == (None, None, 0.0, {})
    assert model.peer_fee(np.zeros((3, len(NAMES)), dtype=np.float32)) is None


@pytest.mark.parametrize("booked", [{"fee": 0.0, "other_cost": 0.2}, {"fee": 0.15, "other_cost": 0.05}])
def test_a_commission_may_be_booked_as_other_cost(few, teach, booked):
    net = pl.col("revenue") - pl.col("refunds").fill_null(0)
    shares = [(net * share).alias(name) for name, share in booked.items()]
    model = teach(placements(few, *shares, *empty("cost", "product_cost"))).model
    assert model.commission_rate == pytest.approx(0.2)
    assert (model.fee, model.typical_fee, model.extra_cost.level, model.price_lines) == (None, None, 0.0, {})


def test_gifts_come_on_top_of_a_commission(few, teach):
    net = pl.col("revenue") - pl.col("refunds").fill_null(0)
    gifts = [pl.lit(30.0).alias("product_cost"), pl.lit("USD").alias("currency")]
    model = teach(placements(few, (net * 0.2).alias("fee"), *gifts, *empty("cost", "other_cost"))).model
    assert model.commission_rate == pytest.approx(0.2)
    assert model.extra_cost.at(np.full(1, 50.0)).item() == pytest.approx(30.0, rel=0.1)


def test_gifts_only_cost_what_they_cost(few, teach):
    gifts = [pl.lit(0.0).alias("fee"), pl.lit(30.0).alias("product_cost"), pl.lit(2.0).alias("other_cost")]
    base = placements(few, *gifts, pl.lit("USD").alias("currency"))
    model = teach(base).model
    assert (model.fee, model.typical_fee, model.extra_cost.at(np.zeros(1)).item()) == (None, 0.0, 32.0)
    assert set(model.peer_fee(np.zeros((3, len(NAMES)), dtype=np.float32))) == {0.0}


def test_without_any_fee_the_outcomes_are_still_learnt(few, teach):
    model = teach(placements(few, *empty("fee"))).model
    assert (model.fee, model.typical_fee, model.commission_rate) == (None, None, None)
    assert {"impressions", "engagements", "net_revenue"} <= set(model.stages)


def test_a_version_is_put_on_the_card_too(world):
    named = world.model.with_version("12")
    assert (named.version, named.card["version"], world.model.version) == ("12", "12", "7")
