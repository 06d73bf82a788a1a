"""The gate: whether a trained model may be served. A pure function of the check report and the backtest."""

from dataclasses import dataclass

from training.backtest import MIN_JUDGED, MODEL, Backtest


@dataclass(frozen=True)
class Verdict:
    """Whether to promote, and each figure beside its threshold in words."""

    promote: bool
    lines: tuple[str, ...]

    def text(self) -> str:
        """The verdict as printed and recorded."""
        return "\n".join([f"{'PROMOTE' if self.promote else 'DO NOT PROMOTE'}", *(f"- {line}" for line in self.lines)])


def judge_promotion(checks_passed: bool, result: Backtest | None, rows: tuple[int, int] = (0, 0)) -> Verdict:
    """Promote where the data checks pass and the backtest deviance is below that of the best simple rule.

    `rows` are the placements settled before the window and inside it, to say why nothing was judged.
    """
    lines = [f"data checks {'passed' if checks_passed else 'failed'}"]
    if result is None:
        lines.append(
            f"nothing could be backtested: of {rows[0]} placements settled before the window and {rows[1]} inside it "
            f"too few know an outcome (at least {MIN_JUDGED} of each are needed); promote by hand if you accept that"
        )
        return Verdict(False, tuple(lines))
    model, rule = result.metrics[MODEL], result.metrics[result.best_rule]
    better = model.deviance < rule.deviance
    lines.append(
        f"deviance of {result.target} on {model.rows} later placements {model.deviance:.4f}, "
        f"{'below' if better else 'not below'} {rule.deviance:.4f} of the best rule ({result.best_rule}); "
        f"gain {rule.deviance - model.deviance:+.4f}, 90 % interval {result.gain[0]:+.4f} to {result.gain[1]:+.4f}"
    )
    if result.missing:
        lines.append(f"{result.missing}; the verdict rests on {result.target} alone")
    return Verdict(checks_passed and better, tuple(lines))
