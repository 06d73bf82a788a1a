"""Contributions in plots are the exact ones that the reasons of answers are made of."""

import numpy as np
import pytest

from features.matrix import FEATURES, NAMES
from features.settings import Settings
from features.value import ValueBasis
from serving.model import ExtraCost, Model
from serving.promise import Promise
from serving.stage import Scaler, Stage
from training.plots_shap import SHOWN, shap_summary, stage_importance, stage_parts, value_parts

F = len(NAMES)
SAMPLE = np.random.default_rng(0).normal(size=(50, F)).astype(np.float32)


def stage(quantity, exposure, **weights):
    coef = np.zeros(2 * F)
    for name, weight in weights.items():
        coef[NAMES.index(name)] = weight
    return Stage(quantity, exposure, 0.0, coef, (), 0.0, 100)


@pytest.fixture
def model():
    stages = {
        "impressions": stage("impressions", "one", log_followers=2.0),
        "engagements": stage("engagements", "impressions", log_price=-1.0),
    }
    basis = ValueBasis.from_settings(Settings().value, "USD", 1.0)
    plain = Scaler(np.zeros(F), np.ones(F), np.full(F, -9.0), np.full(F, 9.0))
    return Model("1", Settings(), basis, plain, stages, {}, None, None, {}, ExtraCost(0, 1, 1), None, (), Promise(),
                 {}, {})  # fmt: skip


def column(values, name):
    return values[:, NAMES.index(name)]


def test_contributions_of_a_line_are_its_coefficients(model):
    parts = stage_parts(model, SAMPLE)
    x = column(SAMPLE, "log_followers")
    np.testing.assert_allclose(column(parts["impressions"], "log_followers"), 2 * (x - x.mean()), atol=1e-5)
    assert np.abs(np.delete(parts["impressions"], NAMES.index("log_followers"), axis=1)).max() == 0


def test_a_value_is_moved_by_every_stage_its_goal_needs_and_no_other(model):
    parts = stage_parts(model, SAMPLE)
    goals = np.array(["awareness", "engagement"] * 25)
    total = value_parts(model, parts, goals)
    reach, engaged = goals == "awareness", goals == "engagement"
    np.testing.assert_allclose(total[reach], parts["impressions"][reach])
    np.testing.assert_allclose(total[engaged], (parts["impressions"] + parts["engagements"])[engaged])
    # of a goal whose stages the data could not teach nothing is claimed
    assert np.abs(value_parts(model, parts, np.full(50, "conversion"))).max() == 0


def test_importance_goes_by_factor(model):
    parts = stage_parts(model, SAMPLE)
    importance = stage_importance(parts)
    family = next(feature.family.value for feature in FEATURES if feature.name == "log_followers")
    x = column(SAMPLE, "log_followers")
    assert importance["impressions"][family] == pytest.approx(2 * np.abs(x - x.mean()).mean(), rel=1e-5)
    assert sum(importance["impressions"].values()) == importance["impressions"][family]


def test_the_strongest_features_stand_first(model):
    parts = stage_parts(model, SAMPLE)
    total = value_parts(model, parts, np.full(50, "engagement"))
    axes = shap_summary(total, SAMPLE).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["log followers", "log price"]
    drawn = np.sort(
        np.concatenate([points.get_offsets()[:, 0] for points in axes.collections if len(points.get_offsets())])
    )
    np.testing.assert_allclose(drawn, np.sort(total[:, total.any(axis=0)].ravel()))


def test_unknown_values_are_drawn_grey(model):
    sample = SAMPLE.copy()
    sample[:10, NAMES.index("log_followers")] = np.nan
    total = value_parts(model, stage_parts(model, sample), np.full(50, "awareness"))
    grey, known = shap_summary(total, sample).axes[0].collections[:2]
    assert (len(grey.get_offsets()), len(known.get_offsets())) == (10, 40)
    assert known.get_array().min() == 0.0
    assert known.get_array().max() == 1.0


def test_at_most_so_many_features_and_none_that_move_nothing():
    contributions = np.random.default_rng(1).normal(size=(50, F))
    assert len(shap_summary(contributions, SAMPLE).axes[0].get_yticklabels()) == SHOWN
    nothing = shap_summary(np.zeros((50, F)), SAMPLE).axes[0]
    assert nothing.get_title().startswith("What moves expected value: 0 strongest")
