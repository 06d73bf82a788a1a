import numpy as np
import pytest

from serving.model import ExtraCost
from serving.price import PriceLine, settle

LINE = PriceLine(intercept=0.1, own=0.8, peers=0.2, spread=0.3, rows=500)


def test_a_fee_lies_between_the_price_and_the_fees_of_others():
    fee = LINE.fee(np.array([100.0, 100.0]), np.array([50.0, 400.0]))
    by_hand = [np.exp(0.1) * 100**0.8 * peer**0.2 for peer in (50, 400)]
    assert fee == pytest.approx(by_hand)


def test_who_posts_for_free_is_not_paid():
    assert LINE.fee(np.array([0.0]), np.array([50.0])).tolist() == [0.0]


@pytest.mark.parametrize(
    ("source", "peers"),
    [("paid", np.array([50.0])), ("quoted", None)],
    ids=["a source that taught nothing", "no fees of others"],
)
def test_without_anything_to_weigh_it_by_a_price_is_what_is_paid(source, peers):
    assert settle({"quoted": LINE}, source, np.array([100.0]), peers).tolist() == [100.0]


def test_extra_cost_grows_with_the_fee_and_a_constant_does_not():
    fee = np.array([50.0, 100.0, 400.0, np.nan])
    np.testing.assert_allclose(ExtraCost(10.0, 100.0, 0.5).at(fee), [10 * 0.5**0.5, 10.0, 20.0, np.nan])
    np.testing.assert_allclose(ExtraCost(10.0, 1.0, 0.0).at(fee[:3]), 10.0)
