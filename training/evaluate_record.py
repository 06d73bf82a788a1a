"""What one backtest leaves in MLflow: the tables of the terminal, every figure and the plots."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from training import report
from training.backtest import MODEL
from training.card import folder_digest, is_synthetic
from training.evaluate_plots import evaluation_figures
from training.evaluate_report import CANNOT_TELL, history_frame, truth_frame, truth_slice_frame
from training.evaluation import Evaluation
from training.run_record import RECORDED, datasets
from training.split import iso
from training.stage_fit import FitOptions
from training.tier_table import tier_sentences
from training.tracking import RunRecord


def evaluation_record(found: Evaluation, tables: Mapping[str, pl.DataFrame], options: FitOptions) -> RunRecord:
    """The record of a backtest; it registers no model."""
    folder = found.folder.resolve().name
    synthetic = is_synthetic(tables["campaigns"]["brand_id"].unique().to_list())
    judged = "nothing" if found.history is None else found.history.target
    kind = "the SYNTHETIC sample market" if synthetic else "the team's own data"
    return RunRecord(
        name=f"backtest {iso(found.as_of)} {folder}",
        description=f"Backtest as of {iso(found.as_of)} on {kind}; "
        f"judged on {judged}{' and on the truth' if found.truth else ''}.",
        params={
            "as_of": iso(found.as_of), "window_opens": iso(found.split.opens), "seed": options.seed,
            "rows_backtest_train": len(found.split.train), "rows_window": len(found.split.test),
            **({} if found.truth is None else {"world": found.truth.facts["world"]}),
        },
        metrics=_metrics(found),
        tags={
            "kind": "backtest", "synthetic": str(synthetic).lower(), "data_digest": folder_digest(found.folder),
            "judged": judged,
        },
        texts=_texts(found),
        dicts={} if found.truth is None else {"truth.json": dict(found.truth.facts)},
        tables=_tables(found),
        figures=evaluation_figures(found.history, found.goals, found.truth),
        datasets=datasets({name: tables[name].select(columns) for name, columns in RECORDED.items()}, folder),
    )  # fmt: skip


def _metrics(found: Evaluation) -> dict[str, float]:
    out = {} if found.history is None else report.flat_metrics(found.history)
    if found.follow is not None:
        for name, one in found.follow.estimates.items():
            out |= {f"off_policy/{report.plain(name)}": one.estimate}
    if found.truth is not None:
        for name, figures in found.truth.figures.items():
            who = "truth" if name == MODEL else f"truth/rule/{report.plain(name)}"
            out |= {f"{who}/{figure}": value for figure, value in figures.as_dict().items()}
        for kind, members in found.truth.slices.items():
            for member, by_name in members.items():
                prefix = f"truth/{kind}/{report.plain(member)}"
                out |= {f"{prefix}/{figure}": value for figure, value in by_name[MODEL].as_dict().items()}
    return out


def _tables(found: Evaluation) -> dict[str, pl.DataFrame]:
    out = {"tiers": found.tiers.frame()}
    if found.history is not None:
        out |= {"history": history_frame(found.history, found.ranges), "slices": report.slice_frame(found.history)}
    if found.follow is not None and found.follow.estimates:
        out["off_policy"] = found.follow.frame()
    if found.truth is not None:
        out |= {"truth": truth_frame(found.truth), "truth_slices": truth_slice_frame(found.truth)}
    return out


def _texts(found: Evaluation) -> dict[str, Any]:
    said = [*tier_sentences(found.tiers), *([] if found.follow is None else found.follow.sentences()), CANNOT_TELL]
    return {"notes.txt": "\n".join(said) + "\n"}
