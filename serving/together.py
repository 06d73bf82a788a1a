"""What placements of one campaign share: luck, an audience that saw the big names already, an order of posting."""

from dataclasses import dataclass

BIG = 100_000  # followers from which a creator counts as big beside small ones
USUAL_SHARED = 0.05  # share of luck in common that is believed until later placements have shown another


@dataclass(frozen=True)
class Together:
    """What has to be known to value a set of placements of one campaign as a set.

    Luck is where a value falls within its interval. Of n placements its normal scores are drawn together as
    z_i = sqrt(shared) x b + sqrt(1 - shared) x e_i with b and the e_i standard normal: a one-factor Gaussian copula
    (Li 2000). Counts and t statistics say what a figure rests on; the statistics are None where nothing was measured.

    Attributes:
        shared: share of the variance of luck that placements of one campaign have in common, 0 to 0.9.
        shared_campaigns, shared_placements, shared_t: what it was measured on, and against none at all.
        small_beside_big: factor on the value of creators below BIG in a campaign that also books one from BIG on;
            1 unless past campaigns show a loss (Gu et al. 2024 found one).
        beside_campaigns, apart_campaigns, beside_t: campaigns with small creators and a big one, and with small ones
            only, and how the first did against the second.
        small_first: whether small creators should post before big ones; big first (Gu et al. 2024) unless past
            campaigns show the opposite.
        small_first_campaigns, big_first_campaigns, first_t: likewise, by who posted first.
        reach_per_impression: people reached per impression, None where no placement knows both.
        reach_placements: how many know both.

    >>> Together(**vars(Together(shared=0.1))).shared
    0.1
    """

    shared: float = USUAL_SHARED
    shared_campaigns: int = 0
    shared_placements: int = 0
    shared_t: float | None = None
    small_beside_big: float = 1.0
    beside_campaigns: int = 0
    apart_campaigns: int = 0
    beside_t: float | None = None
    small_first: bool = False
    small_first_campaigns: int = 0
    big_first_campaigns: int = 0
    first_t: float | None = None
    reach_per_impression: float | None = None
    reach_placements: int = 0
