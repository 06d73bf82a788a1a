from types import SimpleNamespace

import pytest

from training.gate import judge_promotion


def result(model, *rules, target="value", missing=None):
    deviances = {"model": model, **{f"rule {i}": deviance for i, deviance in enumerate(rules)}}
    best = min(list(deviances)[1:], key=deviances.__getitem__)
    return SimpleNamespace(
        metrics={name: SimpleNamespace(deviance=d, rows=321) for name, d in deviances.items()},
        best_rule=best,
        target=target,
        missing=missing,
        gain=(0.01, 0.3),
    )


@pytest.mark.parametrize(
    ("passed", "judged", "promote", "words"),
    [
        (True, result(1.0, 1.5, 1.2), True,
         ["checks passed", "value on 321 later", "1.0000, below 1.2000", "(rule 1)", "gain +0.2000", "+0.0100"]),
        (True, result(1.3, 1.5, 1.2), False, ["1.3000, not below 1.2000", "gain -0.1000"]),
        (True, result(1.2, 1.2), False, ["not below"]),
        (False, result(1.0, 1.5), False, ["checks failed", "1.0000, below 1.5000"]),
        (True, None, False, ["nothing could be backtested", "at least 50 of each", "promote by hand"]),
        (False, None, False, ["checks failed", "nothing could be backtested"]),
        (True, result(1.0, 1.5, target="impressions", missing="no sale was known"), True,
         ["deviance of impressions", "no sale was known; the verdict rests on impressions alone"]),
        (True, result(float("nan"), 1.5), False, ["not below"]),
    ],
)  # fmt: skip
def test_verdict(passed, judged, promote, words):
    verdict = judge_promotion(passed, judged)
    assert verdict.promote is promote
    text = verdict.text()
    assert text.splitlines()[0] == ("PROMOTE" if promote else "DO NOT PROMOTE")
    assert len(text.splitlines()) == len(verdict.lines) + 1
    for word in words:
        assert word in text
