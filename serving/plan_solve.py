"""The best set of offers within a time limit: a good one fast, then the best of those that could matter."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from serving.plan_answers import Method
from serving.plan_bound import Bound, bound, worth_keeping
from serving.plan_greedy import solve_greedy
from serving.plan_milp import RELATIVE_GAP, Impossible, Solved, solve_exact
from serving.plan_problem import Losses, Mask, Problem, mask_of
from serving.plan_risk import careful_bound, careful_sets

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_FAST = 600  # offers that the fast set is looked for among; more where more of them are worth their price
MOST_EXACT = 2500  # offers and losses with which the program still ends in seconds
MOST_CAREFUL = 400  # the same with risk aversion, for which it is run again and again
MOST_LOSSES = 8000
MOST_TAILS = 40
BOLD, CAREFUL = 0.3, 0.4  # shares of the time for the best set without risk, and for good ones with it
PROVEN = 1e-4  # relative gap that counts as none
NEGLIGIBLE = 1e-9  # of the largest worth: what the program itself rounds


@dataclass(frozen=True)
class Solution:
    """A set of offers that keeps all limits.

    Attributes:
        chosen: shape (n,).
        method: how it was found.
        gap: by how much a better set could exceed it at most, relatively; None where nothing is proven.
        solved_over: offers that the last step chose from.
    """

    chosen: Mask
    method: Method
    gap: float | None
    solved_over: int


def solve(
    problem: Problem,
    seconds: float,
    *,
    starts: Sequence[Mask] = (),
    gap: float = RELATIVE_GAP,
    exact: bool = True,
    outside: float = -np.inf,
) -> Solution:
    """The best set found in time.

    Args:
        problem: the offers and limits.
        seconds: time allowed for the exact program; the fast set is made in any case.
        starts: sets that may be good, to begin from.
        gap: relative distance from the best that is near enough.
        exact: False is satisfied with the fast set.
        outside: no set with an offer that is not part of the problem is worth more.

    Raises:
        Impossible: no set keeps all limits.
    """
    until = perf_counter() + seconds
    upper = bound(problem)
    fast = _fast(problem, upper, starts, until)
    if fast is None:
        fast = _any(problem, upper, until)
    tails: tuple[Floats, ...] = ()
    if problem.risk and fast is not None:
        fast, tails = _careful(problem, upper, fast, seconds, gap=gap, exact=exact)
        upper = careful_bound(problem, tails, upper)
    known = -np.inf if fast is None else problem.worth_of(fast)
    needed = np.arange(len(problem)) if fast is None else worth_keeping(problem, known, upper)
    if fast is not None and not needed[~fast[needed]].size:
        return _solution(fast, known, max(known, outside), True, len(needed))
    if fast is not None and not exact:
        return Solution(fast, "greedy", _gap(known, max(upper.value, outside)), len(needed))
    needed, left_out = _fewer(problem, upper, needed, fast)
    part, left_out = problem.part(needed), max(left_out, outside)
    if fast is not None and len(part.losses) > MOST_LOSSES:
        return Solution(fast, "greedy", _gap(known, max(upper.value, outside)), len(needed))
    start = None if fast is None else fast[needed]
    found = _exact(part, start, until, gap, [tail[needed] for tail in tails])
    if found is None:
        if fast is None:
            raise Impossible
        return Solution(fast, "time_limit", _gap(known, max(upper.value, outside)), len(needed))
    chosen = mask_of(len(problem), needed[found.chosen])
    if problem.broken(chosen) is not None or problem.worth_of(chosen) < known:
        chosen = fast if fast is not None else chosen
    if problem.broken(chosen) is not None:
        raise Impossible
    proven = max(min(upper.value, max(found.bound, known)), left_out)
    return _solution(chosen, problem.worth_of(chosen), proven, found.optimal, len(needed))


def _fewer(problem: Problem, upper: Bound, needed: Ints, fast: Mask | None) -> tuple[Ints, float]:
    """As many of the needed offers as the program ends with in seconds, and the most a set with another is worth."""
    most = MOST_CAREFUL if problem.risk else MOST_EXACT
    if len(needed) <= most:
        return needed, -np.inf
    few = np.intersect1d(_foremost(problem, upper, most), needed)
    few = few if fast is None else np.union1d(few, np.flatnonzero(fast))
    dropped = np.setdiff1d(needed, few)
    return few, upper.value + min(float(upper.reduced[dropped].max(initial=-np.inf)), 0.0)


def _solution(chosen: Mask, worth: float, proven: float, optimal: bool, over: int) -> Solution:
    gap = _gap(worth, proven)
    # the program's own tolerance is no gap, what lies outside of it is one
    method: Method = "time_limit" if not optimal else "optimal" if gap is not None and gap <= PROVEN else "greedy"
    return Solution(chosen, method, gap, over)


def _fast(problem: Problem, upper: Bound, starts: Sequence[Mask], until: float) -> Mask | None:
    few = _foremost(problem, upper, _most_fast(upper))
    for start in starts:
        few = np.union1d(few, np.flatnonzero(start))
    found = solve_greedy(problem.part(few), tuple(start[few] for start in starts), until)
    return None if found is None else mask_of(len(problem), few[found])


def _any(problem: Problem, upper: Bound, until: float) -> Mask | None:
    """Any set that keeps limits which are hard to keep, improved; None where time was up first."""
    few = _foremost(problem, upper, MOST_EXACT)
    part, none = problem.part(few), np.zeros(len(few))
    plain = replace(part, worth=none, price=none, losses=Losses(), small_loss=0.0, risk=0.0, draws=None)
    found = solve_exact(plain, None, max(until - perf_counter(), 0.0))
    if found is None or problem.broken(mask_of(len(problem), few[found.chosen])) is not None:
        return None
    better = solve_greedy(part, (found.chosen,), until)
    best = found.chosen if better is None or part.worth_of(better) < part.worth_of(found.chosen) else better
    return mask_of(len(problem), few[best])


def _careful(
    problem: Problem, upper: Bound, fast: Mask, seconds: float, *, gap: float, exact: bool
) -> tuple[Mask, tuple[Floats, ...]]:
    """A good set with risk aversion, and the tails of all sets that were met."""
    until = perf_counter() + (BOLD + CAREFUL) * seconds
    # the best without risk is a good one to begin with
    bold = solve(replace(problem, risk=0.0, draws=None), BOLD * seconds, starts=(fast,), gap=gap, exact=exact).chosen
    few = np.union1d(_foremost(problem, upper, _most_fast(upper)), np.flatnonzero(bold))
    sets = [fast, *(mask_of(len(problem), few[one]) for one in careful_sets(problem.part(few), bold[few], until))]
    return max(sets, key=problem.worth_of), tuple(problem.tail(one) for one in sets)


def _most_fast(upper: Bound) -> int:
    return max(LEAST_FAST, 2 * int((upper.reduced > 0).sum()))


def _foremost(problem: Problem, upper: Bound, most: int) -> Ints:
    """Positions of the offers worth most above their price, some of each limit's, and all that must be there."""
    if len(problem) <= most:
        return np.arange(len(problem))
    keep = np.zeros(len(problem), dtype=bool)
    keep[np.argsort(-upper.reduced, kind="stable")[:most]] = True
    for row in problem.rows:
        if row.low > 0:
            best = np.argsort(-upper.reduced[row.members], kind="stable")[: most // 10]
            keep[row.members[best]] = True
    for offers in problem.must:
        keep[offers] = True
    return np.flatnonzero(keep)


def _exact(problem: Problem, start: Mask | None, until: float, gap: float, tails: Sequence[Floats]) -> Solved | None:
    """The program; with risk aversion again and again, until the tail of its answer is what it took it for."""
    tails = list(tails)
    if problem.risk and not tails:
        tails = [problem.tail(np.zeros(len(problem), dtype=bool))]
    best: Solved | None = None
    least = np.inf  # of the bounds so far: each holds whatever was added later
    for _ in range(MOST_TAILS):
        left = until - perf_counter()
        if left <= 0.0:
            return best and replace(best, optimal=False)
        found = solve_exact(problem, start, left, gap, tails)
        if found is None or not problem.risk:
            return found if found is not None else best
        worth = problem.worth_of(found.chosen)
        if best is None or worth > problem.worth_of(best.chosen):
            best = found
        least = min(least, found.bound)
        best = replace(best, bound=least, optimal=False)
        worth = problem.worth_of(best.chosen)
        if best.bound - worth <= max(gap * abs(worth), NEGLIGIBLE * float(problem.worth.max(initial=0.0))):
            return replace(best, optimal=True)
        tails.append(problem.tail(found.chosen))
        start = best.chosen
    return best


def _gap(worth: float, upper: float) -> float | None:
    if not np.isfinite(upper):
        return None
    return max(upper - worth, 0.0) / max(abs(worth), 1e-9)
