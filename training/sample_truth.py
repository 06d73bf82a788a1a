"""What a judge needs to know of a synthetic market and nobody could know of a real one: the truth of held-out briefs.

The briefs start after the market's last day. For every candidate of each there is what the placement would cost and be
worth on average, one draw of how it might turn out, and whose audiences overlap. SYNTHETIC throughout.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from features.errors import DataError

FOLDER = "truth"


@dataclass(frozen=True)
class Truth:
    """The truth of held-out briefs.

    `briefs` are in the contract's format with the candidates in `filters.creator_ids`; `outcomes` has a row a brief
    and candidate; `overlap` is the contract's audience_overlap among the candidates; `facts` is what truth.json holds.
    """

    briefs: list[dict[str, object]]
    outcomes: pl.DataFrame
    overlap: pl.DataFrame
    facts: dict[str, object]


def joint_value(truth: Truth, brief_id: str, creator_ids: Sequence[str]) -> float:
    """Expected value in USD of a set of picks for one brief, an audience that several share counted once.

    The picks are taken in order of their value if delivered. Each loses, for every pick before it and with that one's
    delivery probability, the share of its own audience that the two have in common; losses are independent.

    Raises:
        DataError: a creator is given twice or is no candidate of the brief.
    """
    asked = pl.DataFrame({"creator_id": list(creator_ids)}, schema={"creator_id": pl.String})
    rows = truth.outcomes.filter(pl.col("brief_id") == brief_id).join(asked, on="creator_id", how="semi")
    if rows.height != len(creator_ids):
        strangers = sorted(set(creator_ids) - set(rows["creator_id"])) or "a creator is given twice"
        raise DataError(f"brief {brief_id}: not every pick is one candidate of it: {strangers}")
    rows = rows.with_columns(pl.col("value") / pl.col("delivery")).sort("value", "creator_id", descending=[True, False])
    place = {creator: k for k, creator in enumerate(rows["creator_id"])}
    shared = truth.overlap.filter(
        pl.col("creator_a").is_in(list(place)) & pl.col("creator_b").is_in(list(place)), pl.col("overlap") > 0
    )
    audience, delivery = rows["followers"].to_numpy(), rows["delivery"].to_numpy()
    left = np.ones(rows.height)
    for a, b, overlap in shared.iter_rows():
        first, second = sorted((place[a], place[b]))
        common = overlap * min(audience[first], audience[second]) / audience[second]
        left[second] *= 1.0 - delivery[first] * common
    return float((rows["value"].to_numpy() * delivery * left).sum())


def write_truth(truth: Truth, folder: Path) -> None:
    """Write briefs.jsonl, outcomes.parquet, overlap.parquet and truth.json; earlier ones are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(brief) + "\n" for brief in truth.briefs)
    (folder / "briefs.jsonl").write_text(lines, encoding="utf-8")
    truth.outcomes.write_parquet(folder / "outcomes.parquet")
    truth.overlap.write_parquet(folder / "overlap.parquet")
    (folder / "truth.json").write_text(json.dumps(truth.facts, indent=2) + "\n", encoding="utf-8")


def read_truth(folder: Path) -> Truth:
    """Read what `write_truth` wrote.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    try:
        lines = (folder / "briefs.jsonl").read_text(encoding="utf-8").splitlines()
        return Truth(
            [json.loads(line) for line in lines],
            pl.read_parquet(folder / "outcomes.parquet"),
            pl.read_parquet(folder / "overlap.parquet"),
            json.loads((folder / "truth.json").read_text(encoding="utf-8")),
        )
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{folder} holds no truth that can be read: {error}. Write it with sample --truth.") from error
