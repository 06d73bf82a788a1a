"""The best set of offers, exactly: a mixed-integer program solved by HiGHS.

An offer i keeps a part t of its worth, a product over the offers beside it: t_0 = x_i, and for each loss by offer j
with share c, t_m <= t_{m-1} and t_m <= (1 - c) t_{m-1} + c (1 - x_j). With x_j = 1 the second bound is the product,
with x_j = 0 it says nothing that the first does not, so the program is exact.

With risk aversion the lower tail is bounded by the mean worth over each of some sets of draws (`tails`): the mean over
the worst draws is the least of them all. The caller adds the tail of each set found until the bound is true of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import highspy
import numpy as np
from numpy.typing import NDArray

from serving.plan_problem import Mask, Problem

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RELATIVE_GAP = 1e-6


@dataclass(frozen=True)
class Solved:
    """A set of offers.

    Attributes:
        chosen: shape (n,).
        bound: no set is worth more; inf where nothing is proven.
        optimal: whether the bound is reached, but for RELATIVE_GAP.
    """

    chosen: Mask
    bound: float
    optimal: bool


class Impossible(Exception):
    """No set of offers keeps all limits."""


def solve_exact(
    problem: Problem, start: Mask | None, seconds: float, gap: float = RELATIVE_GAP, tails: Sequence[Floats] = ()
) -> Solved | None:
    """The best set, or the best found in time; None where time was up before any was.

    Args:
        problem: the offers and limits.
        start: a set that keeps all limits, to begin from.
        seconds: time allowed.
        gap: relative distance from the bound that is near enough.
        tails: mean worths of the offers over sets of draws, shape (n,) each; at least one with risk aversion.

    Raises:
        Impossible: proven that no set keeps all limits.
    """
    program = _Program(problem, tails)
    solver = highspy.Highs()  # type: ignore[no-untyped-call]
    solver.silent()
    for name, value in (
        ("threads", 1), ("random_seed", 0), ("time_limit", float(seconds)), ("mip_rel_gap", gap), ("mip_abs_gap", 1e-9),
        ("mip_feasibility_tolerance", 1e-9), ("primal_feasibility_tolerance", 1e-9),
    ):  # fmt: skip
        solver.setOptionValue(name, value)
    solver.passModel(program.lp())
    if start is not None:
        solution = highspy.HighsSolution()
        solution.col_value = program.columns_of(start).tolist()
        solver.setSolution(solution)
    solver.run()
    status = solver.getModelStatus()
    if status in (highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible):
        raise Impossible
    info = solver.getInfo()
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return None
    chosen = np.array(solver.getSolution().col_value)[: len(problem)] > 0.5
    bound = float(info.mip_dual_bound) / program.unit if np.isfinite(info.mip_dual_bound) else np.inf
    return Solved(chosen, bound, status == highspy.HighsModelStatus.kOptimal)


class _Program:
    """Columns: x of each offer, y of each creator with several offers, z (any big), t of each loss."""

    def __init__(self, problem: Problem, tails: Sequence[Floats]) -> None:
        self._problem, self._tails = problem, tails if problem.risk else ()
        n = len(problem)
        offers = np.bincount(problem.creator, minlength=1)
        self._several = np.flatnonzero(offers > 1)
        self._y: dict[int, int] = {int(creator): n + k for k, creator in enumerate(self._several)}
        columns = n + len(self._several)
        self._z = -1
        losses = problem.losses
        order = np.lexsort((losses.beside, losses.of))
        self._steps = [(int(losses.of[k]), int(losses.beside[k]), float(losses.share[k])) for k in order]
        if problem.small_loss and problem.big is not None and problem.small is not None and problem.big.any():
            self._z = columns
            columns += 1
            self._steps += [(int(i), -1, problem.small_loss) for i in np.flatnonzero(problem.small)]
            self._steps.sort(key=lambda step: step[0])
        self._t0 = columns
        self._tail = columns + len(self._steps)
        self.columns = self._tail + bool(self._tails)
        # worths of one order of magnitude, whatever the currency
        self.unit = 1.0 / max(float(problem.worth.max(initial=0.0)), float(problem.price.max(initial=0.0)), 1e-12)
        self._rows: list[tuple[list[int], list[float], float, float]] = []
        self._build()

    def _creator_columns(self, members: Ints) -> list[int]:
        creators = np.unique(self._problem.creator[members])
        single = {int(self._problem.creator[i]): int(i) for i in members}
        return [self._y.get(int(creator), single[int(creator)]) for creator in creators]

    def _add(self, columns: list[int], weights: list[float], low: float, high: float) -> None:
        self._rows.append((columns, weights, low, high))

    def _build(self) -> None:
        problem = self._problem
        every = list(range(len(problem)))
        self._add(every, problem.cost.astype(float).tolist(), -np.inf, float(problem.budget))
        for creator, column in self._y.items():
            own = np.flatnonzero(problem.creator == creator).tolist()
            for offer in own:
                self._add([offer, column], [1.0, -1.0], -np.inf, 0.0)
            # a creator counts only if something of theirs is bought
            self._add([*own, column], [*[1.0] * len(own), -1.0], 0.0, np.inf)
        for row in problem.rows:
            if row.counts_creators:
                columns = self._creator_columns(row.members)
                self._add(columns, [1.0] * len(columns), row.low, row.high)
            else:
                self._add(row.members.tolist(), row.weight.astype(float).tolist(), row.low, row.high)
        for caps in problem.caps:
            for tight in caps.tight():
                self._add(tight.tolist(), caps.weight[tight].astype(float).tolist(), -np.inf, float(caps.most))
        for offers in problem.must:
            self._add(offers.tolist(), [1.0] * len(offers), 1.0, np.inf)
        if self._z >= 0 and problem.big is not None:
            for one in np.flatnonzero(problem.big):
                self._add([int(one), self._z], [1.0, -1.0], -np.inf, 0.0)
        self._last: dict[int, int] = {}
        for k, (of, beside, share) in enumerate(self._steps):
            before, now = self._last.get(of, of), self._t0 + k
            other = self._z if beside < 0 else beside
            self._add([now, before], [1.0, -1.0], -np.inf, 0.0)
            self._add([now, before, other], [1.0, -(1.0 - share), share], -np.inf, share)
            self._last[of] = now
        kept = [self._last.get(offer, offer) for offer in every]
        for tail in self._tails:
            self._add([self._tail, *kept], [1.0, *(-tail * self.unit).tolist()], -np.inf, 0.0)

    def lp(self) -> highspy.HighsLp:
        """The program as HiGHS takes it."""
        problem = self._problem
        n = len(problem)
        worth = np.zeros(self.columns)
        worth[:n] = -problem.price * self.unit
        for offer in range(n):
            worth[self._last.get(offer, offer)] += (1.0 - problem.risk) * problem.worth[offer] * self.unit
        upper = np.ones(self.columns)
        if self._tails:
            worth[self._tail], upper[self._tail] = problem.risk, np.inf
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = self.columns, len(self._rows)
        lp.sense_ = highspy.ObjSense.kMaximize
        lp.col_cost_ = worth
        lp.col_lower_, lp.col_upper_ = np.zeros(self.columns), upper
        whole = [highspy.HighsVarType.kInteger] * self._t0
        lp.integrality_ = whole + [highspy.HighsVarType.kContinuous] * (self.columns - self._t0)
        lp.row_lower_ = np.array([row[2] for row in self._rows])
        lp.row_upper_ = np.array([row[3] for row in self._rows])
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.concatenate([[0], np.cumsum([len(row[0]) for row in self._rows])])
        lp.a_matrix_.index_ = np.concatenate([np.asarray(row[0], dtype=np.int32) for row in self._rows])
        lp.a_matrix_.value_ = np.concatenate([np.asarray(row[1]) for row in self._rows])
        return lp

    def columns_of(self, chosen: Mask) -> Floats:
        """Values of all columns for a set."""
        problem = self._problem
        values = np.zeros(self.columns)
        values[: len(problem)] = chosen
        for creator, column in self._y.items():
            values[column] = float(chosen[problem.creator == creator].any())
        if self._z >= 0 and problem.big is not None:
            values[self._z] = float((chosen & problem.big).any())
        last: dict[int, int] = {}
        for k, (of, beside, share) in enumerate(self._steps):
            met = values[self._z] if beside < 0 else float(chosen[beside])
            values[self._t0 + k] = values[last.get(of, of)] * (1.0 - share * met)
            last[of] = self._t0 + k
        if self._tails:
            kept = problem.kept(chosen)[chosen]
            values[self._tail] = min(float((tail[chosen] * kept).sum()) for tail in self._tails) * self.unit
        return values
