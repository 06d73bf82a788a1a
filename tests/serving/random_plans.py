"""Random problems and requests for plans, and the slow, obvious way: value every set and take the best."""

from dataclasses import replace

import numpy as np
import polars as pl

from features.overlap import Overlap
from serving.model import ExtraCost
from serving.plan_problem import Caps, Losses, Problem, Row
from tests.serving.fast_scoring import random_brief


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
        caps=tuple(_random_caps(rng, cost, creator)),
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


def _random_caps(rng, cost, creator):
    n = len(cost)
    if rng.random() < 0.25:
        yield Caps("per_creator", creator, np.ones(n, dtype=np.int64), int(rng.integers(1, 3)))
    if rng.random() < 0.25:
        person = np.unique(rng.integers(0, n, n)[creator], return_inverse=True)[1]
        yield Caps("per_person", person, cost, int(rng.integers(0, 400)))


def _random_must(rng, creator):
    if rng.random() < 0.7:
        return ()
    wanted = rng.choice(creator.max() + 1, min(int(rng.integers(1, 3)), creator.max() + 1), replace=False)
    return tuple(np.flatnonzero(creator == one) for one in wanted)


def _random_draws(rng, worth):
    """Drawn together, and of the mean that is expected."""
    luck = rng.gamma(1, 1, (len(worth), 50)) * rng.gamma(4, 0.25, 50)
    return worth[:, None] * luck / luck.mean(axis=1)[:, None]


# --- the slow, obvious way


def all_sets(n):
    """Every set of n offers, shape (2 ** n, n)."""
    return (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1


def keeping(problem, sets):
    """Which sets keep budget and limits, shape (m,)."""
    kept = sets @ problem.cost <= problem.budget
    for row in problem.rows:
        if row.counts_creators:
            creators = [[i for i in row.members if problem.creator[i] == one] for one in set(problem.creator.tolist())]
            amount = sum(sets[:, own].any(axis=1).astype(int) for own in creators)
        else:
            amount = sets[:, row.members] @ row.weight
        kept &= (amount >= row.low) & (amount <= row.high)
    for caps in problem.caps:
        for one in set(caps.owner.tolist()):
            kept &= sets[:, caps.owner == one] @ caps.weight[caps.owner == one] <= caps.most
    for own in problem.must:
        kept &= sets[:, own].any(axis=1)
    return kept


def worths(problem, sets):
    """What sets are worth, shape (m,)."""
    part = np.ones(sets.shape)
    for of, beside, share in zip(problem.losses.of, problem.losses.beside, problem.losses.share, strict=True):
        part[:, of] *= np.where(sets[:, beside], 1.0 - share, 1.0)
    some_big = sets[:, problem.big].any(axis=1)
    for i in np.flatnonzero(problem.small):
        part[:, i] *= np.where(some_big, 1.0 - problem.small_loss, 1.0)
    part = part * sets
    expected, price = part @ problem.worth, sets @ problem.price
    if not problem.risk:
        return expected - price
    drawn = np.sort(part @ problem.draws, axis=1)
    worst = drawn[:, : max(round(0.2 * drawn.shape[1]), 1)].mean(axis=1)
    return (1.0 - problem.risk) * expected + problem.risk * worst - price


def best_of_all(problem):
    """The set worth most of all that keep the limits, and its worth; None, None where none does."""
    sets = all_sets(len(problem))
    sets = sets[keeping(problem, sets)]
    if not len(sets):
        return None, None
    worth = worths(problem, sets)
    return sets[np.argmax(worth)], float(worth.max())


# --- requests


def mixed(release, seed=0, *, measured=True, niches=4):
    """A release with everything that a plan looks at: price lists, persons with several accounts, kin, the unknown.

    The fewer niches there are the more audiences are shared, and the longer the best set takes to find.
    """
    rng = np.random.default_rng(seed)
    catalogue, state = release.catalogue, release.catalogue.state
    n = len(state)
    followers = np.where(rng.random(n) < 0.1, np.nan, state.profile["follower_count"])
    kinds = max(state.deliverable_prices.shape[1], 1)
    listed = np.round(rng.lognormal(6, 1, (n, kinds)), 2)
    listed[rng.random((n, kinds)) < 0.5] = np.nan
    listed[rng.random(n) < 0.5] = np.nan
    person = [f"p{k}" if k < n // 20 else None for k in rng.integers(0, n // 10, n)]
    niche = [None if k == 0 else f"niche-{k}" for k in rng.integers(0, niches, n)]
    overlap = catalogue.overlap if measured else Overlap.unmeasured()
    return replace(
        release,
        model=replace(release.model, together=replace(release.model.together, small_beside_big=0.8)),
        catalogue=replace(
            catalogue,
            state=replace(
                state, profile={**state.profile, "follower_count": followers}, deliverable_prices=listed,
                deliverable_sources=np.where(np.isnan(listed), np.nan, rng.integers(0, 2, (n, kinds))),
                codes={**state.codes, "country": np.where(rng.random(n) < 0.1, -1, rng.integers(0, 2, n))},
            ),
            display=catalogue.display.with_columns(
                pl.Series("person_id", person, dtype=pl.String), pl.Series("niche", niche, dtype=pl.String)
            ),
            overlap=overlap,
        ),
    )  # fmt: skip


def on_commission(release, gifts=0.0):
    """The same release if a fifth of the net revenue were what creators are paid, and gifts come on top."""
    model = replace(
        release.model, commission_rate=0.2, fee=None, typical_fee=None, price_lines={},
        extra_cost=ExtraCost(gifts, 1.0, 0.0),
    )  # fmt: skip
    return replace(release, model=model)


def random_options(rng, release, ids, budget):
    """The fields of a plan: any limit in any of its forms."""

    def maybe(chance, value):
        return value() if rng.random() < chance else None

    def limit():
        forms = (
            int(rng.integers(0, 4)), float(rng.uniform(0.1, 0.9)), {"min": int(rng.integers(0, 3))},
            {"min_share": float(rng.uniform(0, 0.3))}, {"max_spend": float(rng.uniform(0, 1.2) * budget)},
            {"min": 1, "max": 3, "min_share": 0.05, "max_share": 0.8, "max_spend": budget / 2},
        )  # fmt: skip
        return forms[rng.integers(0, len(forms))]

    def cap():
        forms = (1, 2, float(rng.uniform(0.1, 0.9)), max(round(budget / 3, 2), 11.0), {"placements": 2, "share": 0.5})
        return forms[rng.integers(0, len(forms))]

    def some(names):
        return {str(name): limit() for name in rng.choice(list(names), int(rng.integers(1, 3)), replace=False)}

    options = {
        "max_creators": maybe(0.3, lambda: int(rng.integers(1, 7))),
        "tier_limits": maybe(0.35, lambda: some(release.catalogue.tier_names)),
        "platform_limits": maybe(0.25, lambda: some(release.catalogue.words.platform.values)),
        "per_creator_cap": maybe(0.25, cap),
        "per_person_cap": maybe(0.25, cap),
        "must_include": maybe(0.2, lambda: [str(name) for name in rng.choice(ids, 1)]),
        "delivery_rate": maybe(0.15, lambda: float(rng.choice([0.5, 0.8, 1.0]))),
        "risk": float(rng.choice([0.0, 0.0, 0.5, 1.0])),
    }
    return {name: value for name, value in options.items() if value is not None}


def random_request(rng, release, most=None):
    """A request for a plan: among `most` creators at most, or with any filters among all."""
    ids = release.catalogue.display["creator_id"].to_list()
    brief = random_brief(rng, release.catalogue) | {"explain": False}
    brief["budget"] = budget = float(np.round(np.exp(rng.uniform(np.log(30), np.log(30_000))), 2))
    if most is not None:
        ids = [str(name) for name in rng.choice(ids, int(rng.integers(1, most + 1)), replace=False)]
        filters = {"creator_ids": ids, "max_fee": 2000.0 if rng.random() < 0.2 else None}
        brief = {**brief, "filters": filters, "platforms": None}
    return {**brief, "plan": random_options(rng, release, ids, budget)}
