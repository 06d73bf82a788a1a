"""The tables of docs/quality.md, from the figures of finished runs."""

from typing import Any

SHOWN = {
    "lift": "lift", "ndcg": "NDCG@10", "regret": "regret", "promise": "promise / delivery",
    "decile_error": "decile error", "coverage": "80 % covers, all", "coverage_picks": "80 % covers, picks",
}  # fmt: skip


def tables(runs: list[dict[str, Any]]) -> str:
    """Four tables in Markdown, a fifth where runs have a ceiling; every figure is the mean over seeds."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["run"][0], run["run"][1]), []).append(run)
    names = list(dict.fromkeys(name for run in runs for name in run["figures"]))
    parts = [_shares(groups, names), "", _model(groups), "", _cold(groups), "", _covered(groups)]
    if any("ceiling" in run for run in runs):
        parts += ["", _ceiling(groups)]
    return "\n".join(parts)


def _shares(groups: dict[tuple[str, int], list[dict[str, Any]]], names: list[str]) -> str:
    lines = [_row("world", "placements", "seeds", *(f"**{n}**" if n == "model" else n for n in names)),
             _row(*["---"] * (3 + len(names)))]  # fmt: skip
    for (world, size), runs in groups.items():
        cells = []
        for name in names:
            found = [run["figures"].get(name, {}).get("oracle_share") for run in runs]
            found = [share for share in found if share is not None]
            cells.append("-" if not found else f"{mean(found):.3f}")
            if name == "model":
                cells[-1] = f"**{cells[-1]}** ({min(found):.2f}-{max(found):.2f})"
        lines.append(_row(world, f"{size:,}", str(len(runs)), *cells))
    return "\n".join(lines)


def _model(groups: dict[tuple[str, int], list[dict[str, Any]]]) -> str:
    lines = [_row("world", "placements", *SHOWN.values(), "80 % covers, later placements", "deviance (ridge)"),
             _row(*["---"] * (4 + len(SHOWN)))]  # fmt: skip
    for (world, size), runs in groups.items():
        cells = []
        for figure in SHOWN:
            found = [run["figures"]["model"][figure] for run in runs if figure in run["figures"]["model"]]
            cells.append("-" if not found else f"{mean(found):,.0f}" if figure == "regret" else f"{mean(found):.3f}")
        covered = [run["history_coverage"] for run in runs if run["history_coverage"] is not None]
        judged = [run["deviance"] for run in runs if run["deviance"]]
        deviance = "-"
        if judged:
            own, ridge = (mean([one[name] for one in judged]) for name in ("model", "ridge on logs"))
            deviance = f"{own:.3f} ({ridge:.3f})"
        lines.append(_row(world, f"{size:,}", *cells, f"{mean(covered):.3f}" if covered else "-", deviance))
    return "\n".join(lines)


def _cold(groups: dict[tuple[str, int], list[dict[str, Any]]]) -> str:
    members = list(dict.fromkeys(name for runs in groups.values() for run in runs for name in run["slices"]))
    members = [name for name in members if name.split(":")[0] in ("goal", "tier", "creator")]
    lines = [_row("world", "placements", *members), _row(*["---"] * (2 + len(members)))]
    for (world, size), runs in groups.items():
        cells = []
        for member in members:
            # a slice in which even the best lose money has no share
            found = [run["slices"].get(member, {}).get("oracle_share") for run in runs]
            found = [share for share in found if share is not None]
            cells.append(f"{mean(found):.2f}" if found else "-")
        lines.append(_row(world, f"{size:,}", *cells))
    return "\n".join(lines)


def _covered(groups: dict[tuple[str, int], list[dict[str, Any]]]) -> str:
    """What intervals of the picks hold by goal, and the lift of creators without history over that of known ones."""
    goals = list(dict.fromkeys(name for runs in groups.values() for run in runs for name in run["slices"]))
    goals = [name for name in goals if name.startswith("goal")]
    heads = [f"80 % covers picks, {name}" for name in goals]
    lines = [_row("world", "placements", *heads, "lift without history / known"), _row(*["---"] * (3 + len(goals)))]
    for (world, size), runs in groups.items():
        cells = []
        for goal in goals:
            found = [run["slices"][goal]["coverage_picks"] for run in runs if goal in run["slices"]]
            cells.append(f"{mean(found):.2f}" if found else "-")
        both = [[run["slices"].get(f"creator: {kind}", {}).get("lift") for kind in ("without history", "known")]
                for run in runs]  # fmt: skip
        ratios = [cold / known for cold, known in both if cold is not None and known]
        lines.append(_row(world, f"{size:,}", *cells, f"{mean(ratios):.2f}" if ratios else "-"))
    return "\n".join(lines)


def _ceiling(groups: dict[tuple[str, int], list[dict[str, Any]]]) -> str:
    """The model and the same model fitted on noise-free labels, over the seeds that have both."""
    lines = [_row("world", "placements", "seeds", "**model**", "noise-free labels", "model / noise-free labels"),
             _row(*["---"] * 6)]  # fmt: skip
    for (world, size), runs in groups.items():
        both = [run for run in runs if "ceiling" in run]
        cells = ["-"] * 3
        if both:
            own = mean([run["figures"]["model"]["oracle_share"] for run in both])
            best = mean([run["ceiling"]["oracle_share"] for run in both])
            cells = [f"**{own:.3f}**", f"{best:.3f}", f"{own / best:.2f}"]
        lines.append(_row(world, f"{size:,}", str(len(both)), *cells))
    return "\n".join(lines)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
