import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.promise import Promise

returns = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=20)


@given(returns, st.floats(0.1, 10.0), st.floats(0.0, 0.9), st.none() | st.floats(1.0, 100.0))
def test_the_order_of_returns_stays_and_none_is_raised(
    values: list[float], bound: float, slope: float, beyond: float | None
) -> None:
    value = np.sort(np.array(values))
    kept = Promise(bound, slope, None if beyond is None else beyond * bound).kept(value, np.ones(len(value)))
    assert (np.diff(kept) >= -1e-9 * kept[1:]).all()
    assert (kept <= value).all()
    assert (kept[value <= bound] == value[value <= bound]).all()


def test_what_is_shrunk_is_the_return_not_the_amount() -> None:
    value, cost = np.array([100.0, 100.0]), np.array([100.0, 10.0])
    np.testing.assert_allclose(Promise(2.0, 0.5).kept(value, cost), [100.0, 10 * 2 * (10 / 2) ** 0.5])


def test_what_is_higher_than_was_seen_is_shrunk_by_as_large_a_part() -> None:
    value, cost = np.array([100.0, 800.0, 8000.0]), np.array([100.0, 100.0, 100.0])
    kept = Promise(2.0, 0.5, 8.0).kept(value, cost)
    np.testing.assert_allclose(kept / value, [1.0, 0.5, 0.5])


def test_unknown_costs_and_values_are_left_as_they_are() -> None:
    value, cost = np.array([5.0, np.nan, 0.0]), np.array([np.nan, 1.0, 1.0])
    np.testing.assert_array_equal(Promise(1.0, 0.5, 3.0).kept(value, cost), value)
