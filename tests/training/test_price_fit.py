import numpy as np
import pytest

from training.extra_cost import fit_extra_cost
from training.price_fit import MIN_ROWS, fit_price_lines

QUOTED, PAID = 0.0, 1.0


def market(seed=0, n=2000, noise=0.3, markup=0.1):
    """Fees that scatter about what alike creators are paid, and quotes that scatter about the fees."""
    rng = np.random.default_rng(seed)
    creator, peers = rng.integers(0, 400, n), np.exp(rng.normal(5, 1, n))
    fee = peers * np.exp(rng.normal(0, 0.4, n))
    return creator, peers, fee, fee * np.exp(markup + rng.normal(0, noise, n))


def lines(creator, peers, fee, price, source):
    asked = []

    def peer_fees(learn, ask):
        asked.append((set(creator[learn]), set(creator[ask])))
        return peers[ask]

    return fit_price_lines(fee, price, source, creator, peer_fees), asked


def test_noisy_quotes_are_weighed_as_regression_says():
    creator, peers, fee, price = market()
    found, asked = lines(creator, peers, fee, price, np.full(len(fee), QUOTED))
    assert set(found) == {"quoted"}
    # log fee given log quote and peers: weights by precision, .4^2 / (.4^2 + .3^2)
    assert (found["quoted"].own, found["quoted"].peers) == pytest.approx((0.64, 0.36), abs=0.03)
    assert found["quoted"].spread == pytest.approx(0.4 * 0.3 / 0.5, abs=0.02)
    expected = found["quoted"].fee(price, peers)
    assert expected.sum() == pytest.approx(fee.sum(), rel=0.01)
    assert np.std(np.log(fee / expected)) < 0.9 * np.std(np.log(fee / price))
    # whose peers are asked for taught nothing of them
    assert asked
    assert all(not learnt & judged for learnt, judged in asked)


def test_prices_that_are_paid_need_no_line():
    creator, peers, fee, _ = market()
    assert lines(creator, peers, fee, fee * 1.001, np.full(len(fee), QUOTED))[0] == {}


def test_each_source_has_its_own_line_and_few_rows_none():
    creator, peers, fee, price = market()
    source = np.where(np.arange(len(fee)) < 500, PAID, QUOTED)
    found = lines(creator, peers, fee, np.where(source == PAID, price * 2, price), source)[0]
    assert set(found) == {"quoted", "paid"}
    assert found["quoted"].intercept - found["paid"].intercept == pytest.approx(0.64 * np.log(2), abs=0.2)
    few = np.arange(len(fee)) < MIN_ROWS - 1
    assert lines(creator, peers, np.where(few, fee, np.nan), price, np.full(len(fee), QUOTED))[0] == {}
    assert lines(creator, peers, fee, np.full(len(fee), np.nan), np.full(len(fee), np.nan))[0] == {}


def test_extra_cost_is_learnt_as_it_grows():
    rng = np.random.default_rng(0)
    fee = np.exp(rng.normal(5, 1, 3000))
    extra = 4.0 * (fee / 100) ** 0.5 * rng.gamma(2.0, 0.5, 3000) * (rng.random(3000) < 0.5) * 2
    found = fit_extra_cost(np.where(rng.random(3000) < 0.1, np.nan, fee), extra)
    assert found.elasticity == pytest.approx(0.5, abs=0.08)
    assert found.at(fee).sum() == pytest.approx(extra.sum(), rel=0.03)


@pytest.mark.parametrize(
    ("fee", "extra", "level"),
    [
        (np.full(200, 80.0), np.full(200, 7.0), 7.0),
        (np.full(10, 80.0), np.full(10, 7.0), 7.0),
        (np.full(200, np.nan), np.full(200, 7.0), 7.0),
        (np.linspace(1, 9, 200), np.zeros(200), 0.0),
        (np.zeros(0), np.zeros(0), 0.0),
    ],
    ids=["one fee", "few rows", "no fee known", "nothing extra", "nothing at all"],
)
def test_extra_cost_is_a_constant_where_the_fees_tell_nothing(fee, extra, level):
    found = fit_extra_cost(fee, extra)
    assert (found.level, found.elasticity) == (level, 0.0)
    assert found.at(np.array([5.0, 500.0])).tolist() == [level, level]
