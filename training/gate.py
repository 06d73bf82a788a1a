"""The gate: whether a trained model may be served. A pure function of the check report, the backtest and the duel."""

import math
from dataclasses import dataclass

from training.backtest import MIN_JUDGED, MODEL, Backtest
from training.duel import Duel

# A retrained model knows newer data, which a window in the past does not show: so much of the champion's deviance
# worse still counts as level. A model truly worse by 5 points of the oracle's ROI is far outside (docs/quality.md).
LEVEL = 0.002
COVERAGE = (0.70, 0.90)  # outside of which the share inside 80 % intervals must not lie, whatever the noise
MIN_COVERED = 100  # placements from which a coverage says something
WRONG_BY = 1.5  # predicted / actual, either way, from which a model is off whatever the noise


@dataclass(frozen=True)
class Check:
    """One condition of the gate.

    Attributes:
        name: short, for tags.
        passed: whether it is met; None where it could not be judged, which stops nothing.
        figure, threshold: what was measured, and what it was held against; NaN where there is none.
        text: the same for people.
    """

    name: str
    passed: bool | None
    figure: float
    threshold: float
    text: str


@dataclass(frozen=True)
class Verdict:
    """Whether to promote, and why: each condition with its figure and threshold."""

    promote: bool
    checks: tuple[Check, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """Each condition in words."""
        return tuple(check.text for check in self.checks)

    def text(self) -> str:
        """The verdict as printed and recorded."""
        return "\n".join([f"{'PROMOTE' if self.promote else 'DO NOT PROMOTE'}", *(f"- {line}" for line in self.lines)])

    def tags(self) -> dict[str, str]:
        """Each condition as a tag: passed or not, the figure and the threshold."""
        said = {True: "passed", False: "failed", None: "not judged"}
        return {
            f"gate.{check.name}": said[check.passed]
            + ("" if math.isnan(check.figure) else f": {check.figure:.4f} against {check.threshold:.4f}")
            for check in self.checks
        }


def judge_promotion(
    checks_passed: bool, result: Backtest | None, rows: tuple[int, int] = (0, 0), duel: Duel | str | None = None
) -> Verdict:
    """Promote a model that beats the simple rules, holds its intervals, and is no worse than the one in force.

    Args:
        checks_passed: whether the data checks found no error.
        result: the backtest; None where nothing could be judged.
        rows: placements settled before the window and inside it, to say why nothing was judged.
        duel: challenger and champion on the same placements; why there is none in words; None for a first model.
    """
    checks = [_checked(checks_passed)]
    if result is None:
        checks.append(
            Check(
                "beats_rules", False, math.nan, math.nan,
                f"nothing could be backtested: of {rows[0]} placements settled before the window and {rows[1]} inside "
                f"it too few know an outcome (at least {MIN_JUDGED} of each are needed); promote by hand if you "
                "accept that",
            )
        )  # fmt: skip
    else:
        checks += [_beats_rules(result), _calibrated(result), *_covered(result)]
        if isinstance(duel, Duel):
            checks += [_no_worse(duel), _floors(duel)]
        elif duel is not None:
            checks.append(
                Check("champion", None, math.nan, math.nan, f"not compared with the version in force: {duel}")
            )
        if result.missing:
            text = f"{result.missing}; the verdict rests on {result.target} alone"
            checks.append(Check("target", None, math.nan, math.nan, text))
    return Verdict(all(check.passed is not False for check in checks), tuple(checks))


def _checked(passed: bool) -> Check:
    return Check("data_checks", passed, math.nan, math.nan, f"data checks {'passed' if passed else 'failed'}")


def _beats_rules(result: Backtest) -> Check:
    model, rule = result.metrics[MODEL], result.metrics[result.best_rule]
    better = model.deviance < rule.deviance
    return Check(
        "beats_rules", better, model.deviance, rule.deviance,
        f"deviance of {result.target} on {model.rows} later placements {model.deviance:.4f}, "
        f"{'below' if better else 'not below'} {rule.deviance:.4f} of the best rule ({result.best_rule}); "
        f"gain {rule.deviance - model.deviance:+.4f}, 90 % interval {result.gain[0]:+.4f} to {result.gain[1]:+.4f}",
    )  # fmt: skip


def _calibrated(result: Backtest) -> Check:
    """Fails only where the interval of predicted / actual is off as a whole: a window's luck is not the model's."""
    figure, (low, high) = result.metrics[MODEL].calibration, result.calibration_interval
    least, most = 1.0 / WRONG_BY, WRONG_BY
    if math.isnan(figure):
        text = f"predicted / actual {result.target} cannot be told: what was actual sums to no more than 0"
        return Check("calibration", False, math.nan, math.nan, text)
    off = low > most or high < least
    return Check(
        "calibration", not off, figure, least if figure < 1.0 else most,
        f"predicted / actual {result.target} {figure:.2f}; its 90 % interval, {low:.2f} to {high:.2f}, "
        f"{_where(off)} {least:.2f} to {most:.2f}",
    )  # fmt: skip


def _covered(result: Backtest) -> list[Check]:
    """Fails only where the interval of the coverage lies outside the bounds as a whole."""
    coverage, rows = result.coverage, result.covered_rows
    if coverage is None:
        return []
    (low, high), (least, most) = COVERAGE, result.coverage_interval
    judged = rows >= MIN_COVERED
    off = most < low or least > high
    where = f"{_where(off)} {low:.2f} to {high:.2f}" if judged else f"rests on too few to judge ({MIN_COVERED} needed)"
    return [
        Check(
            "coverage", not off if judged else None, coverage, low if coverage < 0.8 else high,
            f"80 % intervals hold {coverage:.2f} of {rows} later placements; the 90 % interval of that share, "
            f"{least:.2f} to {most:.2f}, {where}",
        )
    ]  # fmt: skip


def _where(off: bool) -> str:
    """How an interval lies to the bounds: it is the interval that is judged, not the figure."""
    return "lies outside of" if off else "reaches into"


def _no_worse(duel: Duel) -> Check:
    least = -LEVEL * duel.champion_deviance
    level = duel.gain >= least
    word = "ahead of" if duel.gain > 0 else "level with" if level else "behind"
    return Check(
        "champion", level, duel.gain, least,
        f"{word} version {duel.champion} ({duel.basis}) on the same {duel.rows} placements of {duel.campaigns} "
        f"campaigns: deviance {duel.challenger_deviance:.4f} against {duel.champion_deviance:.4f}, gain "
        f"{duel.gain:+.4f} (at least {least:+.4f}), 90 % interval {duel.interval[0]:+.4f} to {duel.interval[1]:+.4f}; "
        f"predicted / actual {duel.challenger_calibration:.2f} against {duel.champion_calibration:.2f}",
    )  # fmt: skip


def _floors(duel: Duel) -> Check:
    """No goal, tier or platform significantly worse."""
    if not duel.slices:
        text = "no goal, tier or platform has enough placements to be compared by itself"
        return Check("slices", None, math.nan, math.nan, text)
    worst = min(duel.slices, key=lambda one: one.z)
    failed = [one for one in duel.slices if one.z < duel.slice_bar]
    names = ", ".join(f"{one.kind} {one.member} (gain {one.gain:+.4f}, z {one.z:.1f})" for one in failed)
    text = (
        f"significantly worse than the version in force for {names}"
        if failed
        else f"no goal, tier or platform is significantly worse; the least good of {len(duel.slices)} is {worst.kind} "
        f"{worst.member} (gain {worst.gain:+.4f}, z {worst.z:.1f})"
    )
    return Check("slices", not failed, worst.z, duel.slice_bar, text)
