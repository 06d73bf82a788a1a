"""A backtest made by hand, whose figures a test knows."""

from types import SimpleNamespace

import numpy as np

from training.backtest import MODEL, Backtest
from training.metrics import bootstrap, bootstrap_ratio, judge, tweedie
from training.split import Split

RULE = "a rule"


def made_backtest(actual, predicted, rule, members, campaign, ranks=None):
    """The model and one rule on some placements, every member of a kind a slice."""
    actual, by_name = np.asarray(actual, dtype=float), {MODEL: np.asarray(predicted), RULE: np.asarray(rule)}
    n = len(actual)
    none = np.full(n, np.nan)
    return Backtest(
        target="value",
        missing=None,
        split=Split(20_000, np.arange(n), np.arange(n)),
        judged=np.arange(n),
        actual=actual,
        predicted=by_name,
        promised=by_name[MODEL],
        metrics={name: judge(actual, p) for name, p in by_name.items()},
        campaign=np.asarray(campaign),
        members=members,
        slices={
            kind: {
                str(member): {name: judge(actual[of == member], p[of == member]) for name, p in by_name.items()}
                for member in np.unique(of)
            }
            for kind, of in members.items()
        },
        gain=bootstrap(tweedie(actual, by_name[RULE]) - tweedie(actual, by_name[MODEL]), np.asarray(campaign)),
        calibration_interval=bootstrap_ratio(by_name[MODEL], actual, np.asarray(campaign)),
        promise=None,
        intervals={},
        ranks=(none, none) if ranks is None else ranks,
        model=SimpleNamespace(basis=SimpleNamespace(currency="USD")),
    )


def two_goals(rows=240, campaigns=24, seed=0):
    """A model that is right for launches and as wrong as can be for local ones, a rule the other way round."""
    rng = np.random.default_rng(seed)
    actual = rng.lognormal(5, 1, rows)
    goal = np.where(np.arange(rows) % 2 == 0, "launch", "local")
    right, wrong = actual * rng.lognormal(0, 0.05, rows), np.full(rows, actual.mean())
    ranks = rng.uniform(0, 1, rows)
    return made_backtest(
        actual, np.where(goal == "launch", right, wrong), np.where(goal == "local", right, wrong),
        {"goal": goal, "country": np.full(rows, "SG")}, np.arange(rows) // (rows // campaigns), (ranks, ranks),
    )  # fmt: skip
