"""Who gets picked, and where the money goes: shares by tier, country and language beside those of all candidates.

A model that learns from past bookings may narrow who is ever seen. So recent campaigns are asked again, as briefs, of
the model and the catalogue that are to be served.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from features.brief import Brief, parse_brief
from features.errors import DataError
from features.market import Market
from serving.candidates import Ints, ask, eligible
from serving.release import Release
from serving.shortlist import shortlist
from training.split import EPOCH

BRIEFS = 20  # recent campaigns that are asked again
PICKS = 20  # of each brief
KINDS = ("tier", "country", "language")
SHOWN = 8  # members of a kind that are named in words
OTHERS = "others"


@dataclass(frozen=True)
class Exposure:
    """Who was picked for some briefs.

    Attributes:
        briefs: that were answered.
        picks: of all briefs.
        creators: different creators among the picks.
        catalogue: creators of the catalogue.
        currency: of the spend.
        spend: fees of all picks.
        table: kind, member, candidates, picks and spend; shares of each kind add up to 1. A brief counts among the
            candidates by its number of picks.
    """

    briefs: int
    picks: int
    creators: int
    catalogue: int
    currency: str
    spend: float
    table: pl.DataFrame

    def metrics(self) -> dict[str, float]:
        """Shares of picks and spend by tier, and how far the picks are from the candidates by each kind.

        `exposure/country/apart` is the share of picks that would have to go to another country for picks to be spread
        as candidates are: half the sum of absolute differences.
        """
        out = {"exposure/creators_picked": self.creators / self.catalogue}
        for kind in KINDS:
            rows = self.table.filter(pl.col("kind") == kind)
            apart = np.abs(rows["picks"].to_numpy() - rows["candidates"].to_numpy()).sum() / 2.0
            out[f"exposure/{kind}/apart"] = float(apart)
        for row in self.table.filter(pl.col("kind") == "tier").iter_rows(named=True):
            out |= {f"exposure/tier/{row['member']}/{what}": row[what] for what in ("picks", "spend")}
        return {name: value for name, value in out.items() if np.isfinite(value)}

    def card(self) -> dict[str, Any]:
        """For the model card, JSON-able: the largest members of each kind, the rest together as OTHERS."""
        largest = self.table.with_columns(size=pl.max_horizontal("candidates", "picks")).sort("size", descending=True)
        place = pl.int_range(pl.len()).over("kind")
        named = pl.when(place < SHOWN).then("member").otherwise(pl.lit(OTHERS)).alias("member")
        shown = largest.with_columns(named).group_by("kind", "member", maintain_order=True).agg(
            pl.col("candidates", "picks", "spend").sum()
        )  # fmt: skip
        return {
            "briefs": self.briefs, "picks": self.picks, "creators": self.creators, "catalogue": self.catalogue,
            "currency": self.currency, "spend": round(self.spend, 2),
            "shares": {
                kind: {
                    row["member"]: {what: row[what] for what in ("candidates", "picks", "spend")}
                    for row in shown.filter(pl.col("kind") == kind).iter_rows(named=True)
                }
                for kind in KINDS
            },
        }  # fmt: skip


def recent_briefs(market: Market, most: int = BRIEFS) -> list[Brief]:
    """The newest campaigns of a market that had begun by its day, as briefs, the newest first.

    What a campaign does not say a brief may leave out too; one without a budget is given room for everybody.
    """
    day = EPOCH.toordinal() + market.as_of
    frame = market.campaign_frame.sort("starts_on", "campaign_id", descending=[True, False], nulls_last=True)
    begun = [row for row in frame.iter_rows(named=True) if row["starts_on"] and row["starts_on"].toordinal() < day]
    briefs = []
    for row in begun[:most]:
        try:
            briefs.append(parse_brief(_as_brief(row)))
        except DataError:
            continue  # a campaign may say what a brief may not, such as a language that is none
    return briefs


def _as_brief(row: Mapping[str, Any]) -> dict[str, Any]:
    same = ("goal", "brand_id", "product_price", "product_margin", "is_new_product")
    listed = ("niches", "languages", "platforms")
    return {
        **{name: row[name] for name in same},
        **{name: row[name] or [] for name in listed},
        "brief_id": row["campaign_id"],
        "budget": row["budget"] if (row["budget"] or 0.0) > 0 else 1e12,
        "target_countries": {entry["code"]: entry["weight"] for entry in row["target_countries"] or ()},
        "top": PICKS,
        "rank_by": "roi",
        "explain": False,
    }


def exposure_of(release: Release, briefs: Sequence[Brief]) -> Exposure | None:
    """Rank the catalogue for some briefs, by the code that is served; None where none of them can be answered.

    Args:
        release: model and catalogue.
        briefs: those that this data cannot answer are left out.
    """
    catalogue = release.catalogue
    words = _members(release)
    totals = {kind: np.zeros((3, int(codes.max(initial=0)) + 1)) for kind, (codes, _) in words.items()}
    answered, picked, spend = 0, [np.zeros(0, dtype=np.int64)], 0.0
    for brief in briefs:
        try:
            rows, _ = eligible(ask(release, brief))
            short = shortlist(release, brief)
        except DataError:
            continue
        picks = short.found.rows[short.picks]
        fees = np.nan_to_num(short.found.fee[short.picks])
        answered, spend = answered + 1, spend + float(fees.sum())
        picked.append(picks)
        for kind, (codes, _) in words.items():
            table = totals[kind]
            table[0] += np.bincount(codes[rows], minlength=table.shape[1]) * (len(picks) / len(rows))
            table[1] += np.bincount(codes[picks], minlength=table.shape[1])
            table[2] += np.bincount(codes[picks], weights=fees, minlength=table.shape[1])
    every = np.concatenate(picked)
    if not len(every):
        return None
    return Exposure(
        briefs=answered,
        picks=len(every),
        creators=len(np.unique(every)),
        catalogue=len(catalogue.state),
        currency=release.model.basis.currency,
        spend=spend,
        table=pl.concat([_shares(kind, words[kind][1], totals[kind]) for kind in KINDS]),
    )


def _members(release: Release) -> dict[str, tuple[Ints, tuple[str, ...]]]:
    """Code of each creator of the catalogue, what is unknown last, and the words of the codes, by kind."""
    catalogue = release.catalogue
    codes = catalogue.state.codes
    known = {
        "tier": catalogue.tier_names,
        "country": catalogue.words.country.values,
        "language": catalogue.words.language.values,
    }
    return {
        kind: (np.where(codes[kind] < 0, len(names), codes[kind]).astype(np.int64), (*names, "unknown"))
        for kind, names in known.items()
    }


def _shares(kind: str, names: tuple[str, ...], totals: np.ndarray[Any, np.dtype[np.float64]]) -> pl.DataFrame:
    sums = totals.sum(axis=1, keepdims=True)
    candidates, picks, spend = np.divide(totals, sums, out=np.full_like(totals, np.nan), where=sums > 0)
    frame = pl.DataFrame({
        "kind": kind, "member": list(names[: totals.shape[1]]), "candidates": candidates, "picks": picks,
        "spend": spend,
    })  # fmt: skip
    return frame.filter((pl.col("candidates") > 0) | (pl.col("picks") > 0)).sort("candidates", descending=True)
