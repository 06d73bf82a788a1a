"""Random problems and requests for plans, and slow, obvious answers to hold the fast ones to.

Nothing here imports what turns offers into a problem (`plan_case`, `plan_limits`) or solves it: sets are valued and
limits are read with own loops, from the words of the contract.
"""

from collections import defaultdict
from itertools import product

import numpy as np

from serving.plan_problem import Losses, Problem, Row

TAIL = 0.2
BIG = 100_000


# --- problems by themselves


def random_problem(rng, most=12, *, risk=None, losses=12):
    """A problem of up to `most` offers: with losses, several offers a creator, all kinds of limits."""
    n = int(rng.integers(1, most + 1))
    worth = np.round(rng.gamma(1, 100, n)) * (rng.random(n) < 0.9)
    cost = rng.integers(0, 30, n) * 10
    creator = np.unique(rng.integers(0, n, n) if rng.random() < 0.4 else np.arange(n), return_inverse=True)[1]
    risk = float(rng.choice([0.0, 0.0, 0.5, 1.0])) if risk is None else risk
    big = rng.random(n) < 0.4
    return Problem(
        worth=worth,
        price=cost * float(rng.choice([0.0, 0.0, 0.3, 1.0])),
        cost=cost,
        creator=creator,
        budget=int(rng.integers(0, 900)),
        losses=_random_losses(rng, n, int(rng.integers(0, losses + 1))),
        rows=tuple(_random_rows(rng, cost, creator)),
        must=_random_must(rng, creator),
        big=big,
        small=~big,
        small_loss=float(rng.choice([0.0, 0.0, 0.2, 1.0])),
        draws=_random_draws(rng, worth) if risk else None,
        risk=risk,
    )


def _random_losses(rng, n, size):
    a, b = rng.integers(0, n, size), rng.integers(0, n, size)
    pairs = sorted({(min(i, j), max(i, j)) for i, j in zip(a.tolist(), b.tolist(), strict=True) if i != j})
    beside, of = (np.array([pair[k] for pair in pairs], dtype=np.int64) for k in (0, 1))
    share = np.where(rng.random(len(of)) < 0.1, 1.0, rng.uniform(0, 1, len(of)))
    return Losses(of, beside, share)


def _random_rows(rng, cost, creator):
    n = len(cost)
    every = np.arange(n)
    if rng.random() < 0.5:
        yield Row("max_creators", every, np.ones(n, dtype=np.int64), True, -np.inf, int(rng.integers(1, 6)))
    for name in ("tier", "platform"):
        if rng.random() < 0.4:
            members = every if rng.random() < 0.15 else np.flatnonzero(rng.random(n)[creator] < 0.5)
            low = int(rng.integers(0, 3))
            high = float(rng.choice([np.inf, low, low + 1, low + 2]))
            yield Row(name, members, np.ones(len(members), dtype=np.int64), True, low or -np.inf, high)
    if rng.random() < 0.4:
        members = np.flatnonzero(rng.random(n) < 0.5)
        low = float(rng.choice([-np.inf, -np.inf, rng.integers(0, 200)]))
        high = float(rng.choice([np.inf, rng.integers(0, 400) + max(low, 0)]))
        yield Row("spend", members, cost[members], False, low, high)
    if rng.random() < 0.3:
        for one in np.unique(creator):
            own = np.flatnonzero(creator == one)
            if len(own) > 1:
                yield Row("per_creator", own, np.ones(len(own), dtype=np.int64), False, -np.inf, 1)


def _random_must(rng, creator):
    if rng.random() < 0.7:
        return ()
    wanted = rng.choice(creator.max() + 1, min(int(rng.integers(1, 3)), creator.max() + 1), replace=False)
    return tuple(np.flatnonzero(creator == one) for one in wanted)


def _random_draws(rng, worth):
    """Drawn together, and of the mean that is expected."""
    luck = rng.gamma(1, 1, (len(worth), 50)) * rng.gamma(4, 0.25, 50)
    return worth[:, None] * luck / luck.mean(axis=1)[:, None]


def keeps(problem, chosen):
    """Whether a set keeps budget and limits, one after the other."""
    picks = [i for i in range(len(problem)) if chosen[i]]
    if sum(int(problem.cost[i]) for i in picks) > problem.budget:
        return False
    for row in problem.rows:
        inside = {int(i): int(w) for i, w in zip(row.members, row.weight, strict=True)}
        taken = [i for i in picks if i in inside]
        amount = len({int(problem.creator[i]) for i in taken}) if row.counts_creators else sum(inside[i] for i in taken)
        if amount < row.low or amount > row.high:
            return False
    return all(any(chosen[i] for i in own) for own in problem.must)


def worth_of(problem, chosen):
    """What a set is worth, offer by offer and draw by draw."""
    picks = [i for i in range(len(problem)) if chosen[i]]
    kept = dict.fromkeys(picks, 1.0)
    for of, beside, share in zip(problem.losses.of, problem.losses.beside, problem.losses.share, strict=True):
        if chosen[of] and chosen[beside]:
            kept[of] *= 1.0 - share
    if any(problem.big[i] for i in picks):
        kept = {i: k * (1.0 - problem.small_loss) if problem.small[i] else k for i, k in kept.items()}
    expected = sum(problem.worth[i] * kept[i] for i in picks)
    price = sum(problem.price[i] for i in picks)
    if not problem.risk:
        return expected - price
    totals = sorted(sum(problem.draws[i][s] * kept[i] for i in picks) for s in range(problem.draws.shape[1]))
    worst = totals[: max(round(TAIL * len(totals)), 1)]
    return (1.0 - problem.risk) * expected + problem.risk * sum(worst) / len(worst) - price


def every_set(problem):
    """Worth of each set that keeps the limits, by its members."""
    sets = (np.array(bits, dtype=bool) for bits in product((False, True), repeat=len(problem)))
    return {tuple(np.flatnonzero(chosen)): problem.worth_of(chosen) for chosen in sets if problem.broken(chosen) is None}


def best_of_all(problem):
    """The most that any set is worth which keeps the limits; None where none does."""
    return max(every_set(problem).values(), default=None)
