import math
import warnings

import numpy as np
import pytest

from features.usual import INTERACTIONS, usual_log_rate, usual_log_views

NAN = math.nan


def profile(views, *interactions):
    named = zip(INTERACTIONS, interactions, strict=True)
    return {"median_views": np.array([views]), **{name: np.array([value]) for name, value in named}}


@pytest.mark.parametrize(
    ("views", "expected"), [(0.0, 0.0), (99.0, math.log(100)), (1e9, math.log(1e9 + 1)), (NAN, NAN)]
)
def test_usual_views(views, expected):
    assert usual_log_views({"median_views": np.array([views])}) == pytest.approx([expected], nan_ok=True)


@pytest.mark.parametrize(
    ("views", "interactions", "expected"),
    [
        (999.0, (40.0, 5.0, 3.0, 2.0), math.log(50 / 1000)),
        # what a platform hides is left out
        (999.0, (40.0, NAN, 10.0, NAN), math.log(50 / 1000)),
        (999.0, (NAN, NAN, NAN, 1.0), math.log(1 / 1000)),
        # more interactions than views is odd, not unknown
        (9.0, (100.0, 0.0, 0.0, 0.0), math.log(10)),
        (1e9, (1e9, 1e9, 1e9, 1e9), math.log(4e9 / (1e9 + 1))),
        # nothing to go by
        (999.0, (NAN, NAN, NAN, NAN), NAN),
        (999.0, (0.0, 0.0, 0.0, 0.0), NAN),
        (999.0, (0.0, NAN, NAN, NAN), NAN),
        (0.0, (40.0, 5.0, 3.0, 2.0), NAN),
        (NAN, (40.0, 5.0, 3.0, 2.0), NAN),
        (NAN, (NAN, NAN, NAN, NAN), NAN),
    ],
)
def test_usual_engagement_rate(views, interactions, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert usual_log_rate(profile(views, *interactions)) == pytest.approx([expected], nan_ok=True)


def test_each_row_is_its_own_and_inputs_are_not_changed():
    rows = {"median_views": np.array([9.0, NAN, 99.0]), **{name: np.array([1.0, 1.0, NAN]) for name in INTERACTIONS}}
    rows["avg_likes"][2] = 10.0
    before = {name: column.copy() for name, column in rows.items()}
    for column in rows.values():
        column.setflags(write=False)
    assert usual_log_rate(rows) == pytest.approx([math.log(0.4), NAN, math.log(0.1)], nan_ok=True)
    assert usual_log_views(rows) == pytest.approx([math.log(10), NAN, math.log(100)], nan_ok=True)
    for name, column in before.items():
        np.testing.assert_array_equal(rows[name], column)


def test_no_creators():
    empty = {name: np.empty(0) for name in ("median_views", *INTERACTIONS)}
    assert usual_log_views(empty).shape == usual_log_rate(empty).shape == (0,)
