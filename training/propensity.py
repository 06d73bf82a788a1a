"""How likely each placement of a log was to be chosen: as the data say, else estimated from what was known before."""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from serving.stage import Floats
from training.past_candidates import Foretold

Ints = NDArray[np.int64]

MIN_GIVEN = 0.95  # share of the placements that must bring their propensity for it to be used
FOLDS = 5
STRENGTH = 0.1  # of the logistic regression (C): weak enough that a few hundred placements can carry a hundred features
MOST_FROM_MEAN = 5.0  # standard deviations beyond which a feature counts as this far
POOL_ROWS = 60  # creators a campaign that the placements are compared with
RARE = 0.02


def usable(propensity: Floats | None) -> bool:
    """Whether given propensities tell anything: nearly every placement has one, and they are not all the same.

    >>> usable(np.array([0.2, 0.5])), usable(np.array([1.0, 1.0])), usable(None)
    (True, False, False)
    """
    if propensity is None or len(propensity) == 0:
        return False
    known = np.isfinite(propensity) & (propensity > 0)
    return bool(known.mean() >= MIN_GIVEN and np.ptp(propensity[known]) > 0)


def estimated_propensity(
    pool: Foretold, pool_campaign: Ints, logged: Foretold, campaign: Ints, sizes: Ints, seed: int
) -> Floats:
    """Chance with which each logged placement was chosen by its campaign, shape (n,), at most 1.

    A logistic regression tells logged placements from creators of the same campaign's pool by everything known
    beforehand, each feature as its distance from the mean of that pool: its odds are how much likelier such a creator
    was booked than one drawn at random. Each placement is judged by a regression that has not seen its campaign.

    Args:
        pool: what was known of the creators that could have been booked.
        pool_campaign: their campaigns, counted from 0 to k - 1; every campaign has some.
        logged: the same of the logged placements.
        campaign: their campaigns, shape (n,).
        sizes: creators each campaign could have booked, shape (k,).
        seed: of the folds and of the pool rows compared with.
    """
    rng = np.random.default_rng(seed)
    k = len(sizes)
    rows = _some_of_each(pool_campaign, POOL_ROWS, rng)
    ours, theirs = _design(pool)[rows], _design(logged)
    in_pool = pool_campaign[rows]
    ours, theirs = _within_campaign(ours, in_pool, theirs, campaign, k)
    bookings, drawn = np.bincount(campaign, minlength=k), np.bincount(in_pool, minlength=k)
    x = np.vstack([ours, theirs])
    y = np.repeat([0, 1], [len(ours), len(theirs)])
    # each campaign's pool weighs as much as its bookings, so that even odds mean a choice at random
    weight = np.concatenate([bookings[in_pool] / drawn[in_pool], np.ones(len(theirs))])
    fold_of = rng.permutation(k) % min(FOLDS, k)
    fold = fold_of[np.concatenate([in_pool, campaign])]
    log_odds = np.zeros(len(theirs))
    for number in range(fold_of.max() + 1):
        taught = fold != number if k > 1 else fold == number
        asked = fold[len(ours) :] == number
        if asked.any():
            judge = LogisticRegression(C=STRENGTH, max_iter=1000).fit(
                x[taught], y[taught], sample_weight=weight[taught]
            )
            log_odds[asked] = judge.decision_function(theirs[asked])
    return np.minimum(np.exp(log_odds) * bookings[campaign] / sizes[campaign], 1.0)


def _design(known: Foretold) -> Floats:
    """Features and, in logs, the predictions that the policy goes by; NaN where unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        predictions = [np.log(np.maximum(column, 1e-3)) for column in (known.value, known.cost)]
        predictions.append(predictions[0] - predictions[1])
    return np.column_stack([known.x.astype(np.float64), *predictions])


def _within_campaign(pool: Floats, in_pool: Ints, logged: Floats, campaign: Ints, k: int) -> tuple[Floats, Floats]:
    """Distances from the mean of the campaign's pool in its standard deviations, and what is missing beside them."""
    missing = np.isnan(pool)
    centre = _means(pool, in_pool, k)
    near, far = np.nan_to_num(pool - centre[in_pool]), np.nan_to_num(logged - centre[campaign])
    spread = near.std(axis=0)
    varied = spread > 1e-9
    near, far = (np.clip(part[:, varied] / spread[varied], -MOST_FROM_MEAN, MOST_FROM_MEAN) for part in (near, far))
    sometimes = missing.std(axis=0) > RARE
    lacking = _means(missing.astype(np.float64), in_pool, k)
    near = np.hstack([near, (missing - lacking[in_pool])[:, sometimes]])
    return near, np.hstack([far, (np.isnan(logged) - lacking[campaign])[:, sometimes]])


def _means(x: Floats, group: Ints, groups: int) -> Floats:
    """Mean of each column's known values by group, 0 where none is known; shape (groups, f)."""
    known = np.isfinite(x)
    total, count = np.zeros((groups, x.shape[1])), np.zeros((groups, x.shape[1]))
    np.add.at(total, group, np.where(known, x, 0.0))
    np.add.at(count, group, known.astype(np.float64))
    return total / np.maximum(count, 1.0)


def _some_of_each(group: Ints, most: int, rng: np.random.Generator) -> Ints:
    """Positions of at most so many random members of each group, in order."""
    shuffled = rng.permutation(len(group))
    order = shuffled[np.argsort(group[shuffled], kind="stable")]
    sorted_group = group[order]
    rank = np.arange(len(group)) - np.searchsorted(sorted_group, sorted_group)
    return np.sort(order[rank < most])
