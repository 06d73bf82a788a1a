"""What an off-policy estimate says: its figures, how much of the log they rest on, and the words for the terminal."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from serving.stage import Floats
from training.policy_estimates import (
    GAIN_ROBUST,
    REPLAY,
    ROBUST,
    TEAM,
    Estimate,
    Log,
    by_name,
    effective_size,
)
from training.split import iso

MIN_CAMPAIGNS = 20
MIN_MATCHED = 30
MIN_EFFECTIVE = 15.0
NOT_CAUSAL = (
    "An estimate from the log, not an experiment: it holds only if nothing that the data do not show drove both who "
    "was booked and what came of it. Only a trial that books some creators at random can prove a gain."
)


@dataclass(frozen=True)
class Policy:
    """Book at random among the best `top` of the creators; at most so many campaigns and creators a campaign count."""

    top: float = 0.1
    campaigns: int = 400
    accounts: int = 600


@dataclass(frozen=True)
class Support:
    """How much of the log bears on the policy.

    Attributes:
        campaigns: with a known outcome.
        placements: logged ones that had settled.
        known: of these, with value and cost known; the others say nothing.
        outside: logged placements left out, since the creator is on no platform of the campaign or, where propensities
            are given, has none.
        unforeseen: campaigns left out, since the model cannot tell the ROI of their goal.
        matched: known placements that the policy could have booked too.
        effective: effective number of them, (sum w)^2 / sum w^2.
        overlap: share of the policy's bookings that fall into campaigns with a matched placement.
        largest_weight: share of the heaviest placement.
        smallest_chance: least propensity among the matched; NaN without any.
    """

    campaigns: int
    placements: int
    known: int
    outside: int
    unforeseen: int
    matched: int
    effective: float
    overlap: float
    largest_weight: float
    smallest_chance: float


@dataclass(frozen=True)
class OffPolicy:
    """ROI in sum of the policy and of the team, or why there is none.

    Attributes:
        policy: what is followed.
        opens: UTC day the window opens.
        estimates: by name (see `policy_estimates`), 90 %; none where refused.
        refused: the reason in a sentence, or None.
        given: whether the propensities were given, by the data or the slate log; else they are estimated.
        support: None where it was not looked at.
        from_slates: of its placements, those whose propensity the slate log has and the data do not.
    """

    policy: Policy
    opens: int
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    refused: str | None = None
    given: bool = False
    support: Support | None = None
    from_slates: int = 0

    def frame(self) -> pl.DataFrame:
        """A row an estimate: what, estimate, low, high."""
        kinds = {"what": pl.String, "estimate": pl.Float64, "low": pl.Float64, "high": pl.Float64}
        return pl.DataFrame(by_name(self.estimates), schema=kinds)

    def sentences(self) -> list[str]:
        """What it says, for the terminal; the reason alone where it is refused."""
        if self.refused is not None or self.support is None:
            return [f"What following the model would have returned is not estimated: {self.refused}."]
        s, found = self.support, self.estimates
        said = [
            f"Had each of the {s.known} bookings from {iso(self.opens)} with a known outcome gone to one of the best "
            f"{self.policy.top:.0%} of its campaign's creators by predicted ROI, ROI in sum would have been "
            f"{_words(found[ROBUST])} ({ROBUST}) or {_words(found[REPLAY])} ({REPLAY}); the team's was "
            f"{_words(found[TEAM])}. In brackets: 90 %.",
            f"Gain over the team: {_words(found[GAIN_ROBUST], signed=True)} ({ROBUST}).",
            f"It rests on {s.matched} placements in {s.campaigns} campaigns that the model would have allowed too, "
            f"worth {s.effective:.0f} equal ones (heaviest: {s.largest_weight:.0%} of the weight); {s.overlap:.0%} of "
            f"the bookings are in campaigns that have one. The chances of being booked are {self._chances(s)}.",
        ]
        if s.known < s.placements:
            said.append(f"{s.placements - s.known} placements without a known value or cost are left out.")
        if s.outside:
            said.append(
                f"{s.outside} placements are left out: booked off their campaign's platforms, or without a propensity."
            )
        if s.unforeseen:
            said.append(f"{s.unforeseen} campaigns are left out: the model could not yet tell the ROI of their goal.")
        return [*said, NOT_CAUSAL]

    def _chances(self, s: Support) -> str:
        """Where the propensities are from."""
        if self.given:
            return f"given, {self.from_slates} of them by the slate log" if self.from_slates else "given in the data"
        few = f" (the slate log has {self.from_slates} of the {s.placements} placements' own: too few, or all alike)"
        return f"estimated from what was known before each booking{few if self.from_slates else ''}"


def support_of(log: Log, weight: Floats, outside: int = 0, unforeseen: int = 0) -> Support:
    """How much of the log bears on the policy, by the weights of its placements."""
    known, used = log.known, weight > 0
    of_known = log.campaign[known]
    return Support(
        campaigns=len(np.unique(of_known)),
        placements=len(known),
        known=int(known.sum()),
        outside=outside,
        unforeseen=unforeseen,
        matched=int(used.sum()),
        effective=effective_size(weight),
        overlap=float(np.isin(of_known, log.campaign[used]).mean()) if len(of_known) else 0.0,
        largest_weight=float(weight.max() / weight.sum()) if used.any() else np.nan,
        smallest_chance=float(log.chance[used].min()) if used.any() else np.nan,
    )


def too_little(s: Support) -> str | None:
    """Why the log bears too little on the policy for an estimate, or None."""
    if s.campaigns < MIN_CAMPAIGNS:
        return f"the window holds {s.campaigns} campaigns with a known outcome, and at least {MIN_CAMPAIGNS} are needed"
    if s.matched < MIN_MATCHED:
        return (
            f"only {s.matched} of the {s.known} placements with a known outcome went to creators the model would have "
            f"allowed, and at least {MIN_MATCHED} are needed: the log says too little about the others"
        )
    if s.effective < MIN_EFFECTIVE:
        return (
            f"the {s.matched} placements that the model would have allowed too are worth only {s.effective:.0f} equal "
            f"ones, and at least {MIN_EFFECTIVE:.0f} are needed: a few that were unlikely to be booked carry it all"
        )
    return None


def _words(estimate: Estimate, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{estimate.estimate:{sign}.2f} ({estimate.low:{sign}.2f} to {estimate.high:{sign}.2f})"
