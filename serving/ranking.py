"""Ranked picks for one brief: the same code for the service, the command line and the backtest."""

from features.brief import Brief
from serving.answers import Pick, QuoteWorthAsking, RankAnswer
from serving.filters import NothingFits
from serving.picks import fee_source, head_fields, pick_fields, reasons_of
from serving.quotes import worth_asking
from serving.release import Release
from serving.shortlist import Shortlist, shortlist
from serving.steps import step


def rank(release: Release, brief: Brief, *, request_id: str) -> RankAnswer:
    """The best creators of the catalogue for a brief.

    Raises:
        DataError: the brief asks for something this data cannot answer (`field` names it).
        NothingFits: the filters leave nobody.
    """
    short = shortlist(release, brief)
    found, picks = short.found, short.picks
    with step("explain"):
        reasons = reasons_of(release.model, brief, found, picks, short.sample)
    answered = [
        Pick(
            **fields,
            rank=position + 1,
            reasons=reasons[position],
            explore=position >= len(picks) - short.explored,
            propensity=short.chance if position >= len(picks) - short.explored else 1.0,
        )
        for position, fields in enumerate(pick_fields(release, brief.goal, found, picks))
    ]
    return RankAnswer(
        **head_fields(release, brief, found, request_id),
        picks=tuple(answered),
        quotes_worth_asking=_quotes(release, brief, short),
    )


def _quotes(release: Release, brief: Brief, short: Shortlist) -> tuple[QuoteWorthAsking, ...]:
    found, picks = short.found, short.picks
    asked, gains = worth_asking(release.model, brief.rank_by, found, short.best)
    names = release.catalogue.display["creator_id"].gather(found.rows[asked])
    return tuple(
        QuoteWorthAsking(
            creator_id=name,
            fee=float(found.fee[position]),
            fee_source=fee_source(found.source[position]),
            gain=float(gain),
            picked=bool(position in picks),
        )
        for name, position, gain in zip(names, asked, gains, strict=True)
    )


__all__ = ["NothingFits", "rank"]
