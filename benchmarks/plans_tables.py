"""The tables of docs/quality.md, "Plans", from the figures of finished markets."""

from typing import Any

import numpy as np

WORTH = {
    "best": "true optimum", "single": "best single tier", "true_single": "truly best single tier",
    "greedy": "cost per engagement",
}  # fmt: skip
DECILES = 10


def tables(runs: list[dict[str, Any]]) -> str:
    """Markdown, figures of each market, and the calibration of chances over all of them."""
    runs = [run for run in runs if run["run"][0] == "plans"]
    parts = []
    for kind in runs[0]["figures"] if runs else ():
        parts += [f"**{kind}**", "", _worth(runs, kind), "", _kept(runs, kind), ""]
    return "\n".join([*parts, _calibrated(runs), "", _deciles(runs)])


def _worth(runs: list[dict[str, Any]], kind: str) -> str:
    """What plans are truly worth, beside what they are compared with: ratio of sums (mean of ratios)."""
    lines = [_row("world", "placements", "seed", "briefs", "picks", *(f"/ {words}" for words in WORTH.values()),
                  "plans of one tier"),
             _row(*["---"] * (6 + len(WORTH)))]  # fmt: skip
    for run in runs:
        found = run["figures"][kind]
        cells = []
        for name in WORTH:
            low, high = (found.get(f"{name}_{end}") for end in ("low", "high"))
            within = "" if low is None else f" [{low:.2f}-{high:.2f}]"
            cells.append(f"{found[name]:.2f}{within} ({found[f'{name}_mean']:.2f})")
        lines.append(_row(*_head(run), f"{found['picks']:.0f}", *cells, f"{found['alike']:.0%}"))
    lines.append(_row("mean", "", "", "", "", *(
        f"{_mean(runs, kind, name):.2f} ({_mean(runs, kind, f'{name}_mean'):.2f})" for name in WORTH
    ), f"{_mean(runs, kind, 'alike'):.0%}"))  # fmt: skip
    return "\n".join(lines)


def _kept(runs: list[dict[str, Any]], kind: str) -> str:
    """Whether promises and budgets are kept, and intervals hold."""
    heads = ("promise / delivery", "cost promised / true", "over budget", "by, mean (most)", "80 % value: inside",
             "below", "above", "80 % ROI: inside", "below", "above")  # fmt: skip
    lines = [_row("world", "placements", "seed", "briefs", *heads), _row(*["---"] * (4 + len(heads)))]

    def cells(get: Any) -> list[str]:
        return [
            f"{get('promise'):.2f}", f"{get('cost'):.2f}", f"{get('over'):.0%}",
            f"{get('over_mean'):.0%} ({get('over_most'):.0%})",
            *(f"{get(f'{what}_{where}'):.2f}" for what in ("value", "roi") for where in ("inside", "below", "above")),
        ]  # fmt: skip

    lines += [_row(*_head(run), *cells(run["figures"][kind].__getitem__)) for run in runs]
    lines.append(_row("mean", "", "", "", *cells(lambda name: _mean(runs, kind, name))))
    return "\n".join(lines)


def _calibrated(runs: list[dict[str, Any]]) -> str:
    """Decile errors over the briefs of all markets together."""
    from training.plan_figures import chance_error, decile_error

    lines = [_row("chance stated", "limits", "briefs", "decile error, realised",
                  "of right chances, one draw a brief", "decile error, truly worth more on average",
                  "mean stated", "came true"),
             _row(*["---"] * 8)]  # fmt: skip
    for what, words in (("mix", "mix beats single tier"), ("profit", "value above cost")):
        for kind in runs[0]["claims"] if runs else ():
            chance, came, truly = _claims(runs, kind, what)
            lines.append(_row(words, kind, str(len(chance)), f"{decile_error(chance, came):.3f}",
                              f"{chance_error(chance):.3f}", f"{decile_error(chance, truly):.3f}",
                              f"{chance.mean():.3f}", f"{came.mean():.3f}"))  # fmt: skip
    return "\n".join(lines)


def _deciles(runs: list[dict[str, Any]]) -> str:
    """Stated chance and how often it came true, group by group."""
    lines = []
    for what, words in (("mix", "mix beats single tier"), ("profit", "value above cost")):
        for kind in runs[0]["claims"] if runs else ():
            chance, came, _ = _claims(runs, kind, what)
            if len(chance) < DECILES:
                continue
            groups = np.array_split(np.argsort(chance, kind="stable"), DECILES)
            pairs = ", ".join(f"{chance[group].mean():.2f}: {came[group].mean():.2f}" for group in groups)
            lines.append(f"{words}, {kind} (stated: came true) {pairs}")
    return "\n\n".join(lines)


def _claims(runs: list[dict[str, Any]], kind: str, what: str) -> list[Any]:
    return [
        np.array([value for run in runs for value in run["claims"][kind][what][name]])
        for name in ("chance", "came_true", "on_average")
    ]


def tier_lines(runs: list[dict[str, Any]]) -> str:
    """How many markets announce a winner in any plan, how many plans do, and what past placements say."""
    lines = [_row("world", "placements", "markets", "no plan names a winner", "a plan names micro",
                  "a plan names macro", "plans that name micro", "past placements over all goals name micro"),
             _row(*["---"] * 8)]  # fmt: skip
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for run in runs:
        if run["run"][0] == "tiers":
            groups.setdefault((run["run"][1], run["run"][2]), []).append(run)
    for (world, size), own in groups.items():
        names = [{name for name in run["announced"] if name} for run in own]
        every = [name for run in own for name in run["announced"]]
        lines.append(_row(
            world, f"{size:,}", str(len(own)), str(sum(not said for said in names)),
            *(str(sum(f"{side}_only" in said for said in names)) for side in ("micro", "macro")),
            f"{sum(name == 'micro_only' for name in every)} of {len(every)}",
            str(sum(run["past"]["all goals"] == "micro" for run in own)),
        ))  # fmt: skip
    return "\n".join(lines)


def _mean(runs: list[dict[str, Any]], kind: str, name: str) -> float:
    return float(np.mean([run["figures"][kind][name] for run in runs]))


def _head(run: dict[str, Any]) -> tuple[str, ...]:
    _, world, size, seed, briefs = run["run"]
    return world, f"{size:,}", str(seed), str(briefs)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
