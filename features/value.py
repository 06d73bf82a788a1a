"""What a placement was worth under its campaign's goal, and its ROI (formulas of the data contract)."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from features.errors import DataError
from features.settings import ValueSettings

GOALS = ("awareness", "engagement", "conversion", "launch", "local")
AWARENESS, ENGAGEMENT, CONVERSION, LAUNCH, LOCAL = range(len(GOALS))

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class ValueBasis:
    """The value settings in base-currency money; None: no exchange rate, so goals that need it are refused."""

    currency: str
    cpm: float | None
    engagement_price: float | None
    launch_awareness: float
    launch_conversion: float
    unknown_credibility: float
    unknown_margin: float
    cost_floor: float

    @classmethod
    def from_settings(cls, settings: ValueSettings, currency: str, rate: float | None) -> "ValueBasis":
        """Convert the settings with `rate` units of `currency` for one unit of `settings.price_currency`.

        >>> ValueBasis.from_settings(ValueSettings(), "VND", 25_000.0).cpm
        300000.0
        """
        return cls(
            currency=currency,
            cpm=None if rate is None else settings.cpm * rate,
            engagement_price=None if rate is None else settings.engagement_price * rate,
            launch_awareness=settings.launch_awareness,
            launch_conversion=settings.launch_conversion,
            unknown_credibility=settings.unknown_credibility,
            unknown_margin=settings.unknown_margin,
            cost_floor=settings.cost_floor,
        )

    def require(self, goal: str) -> None:
        """Refuse a goal whose prices cannot be expressed in the base currency.

        Raises:
            DataError: with the reason and the remedy.
        """
        if self.cpm is None and goal in ("awareness", "engagement", "launch"):
            raise DataError(
                f"goal {goal} is priced in another currency than {self.currency} and there is no exchange rate: "
                f'add an fx table with that rate, or set value.price_currency = "{self.currency}" with cpm and '
                "engagement_price in it, then train again",
                field="goal",
            )

    def describe(self, goal: str) -> dict[str, object]:
        """The formula and the numbers in force, as printed with every result."""
        formulas = {
            "awareness": "impressions x target share x audience credibility x cpm / 1000",
            "engagement": "engagements x engagement_price",
            "conversion": "net revenue x product margin (attributed)",
            "launch": "launch_awareness x awareness value + launch_conversion x conversion value",
            "local": "net revenue x product margin (attributed; only the in-target audience is expected to respond)",
        }
        return {"goal": goal, "formula": formulas[goal], **asdict(self)}


def placement_value(
    goal: Codes,
    impressions: Floats,
    engagements: Floats,
    net_revenue: Floats,
    target_share: Floats,
    credibility: Floats,
    margin: Floats,
    basis: ValueBasis,
) -> Floats:
    """Value of each placement in base currency; NaN where an outcome that the goal needs is not known.

    Args:
        goal: code into GOALS; a single one is that of all placements.
        impressions: count of views.
        engagements: count of likes, comments, shares and saves.
        net_revenue: revenue - refunds, base currency.
        target_share: g, share of the creator's audience in the target countries.
        credibility: q, audience credibility; NaN takes the configured default.
        margin: m, product margin; NaN takes the configured default.
        basis: prices in base currency.

    >>> basis = ValueBasis.from_settings(ValueSettings(), "USD", 1.0)
    >>> one = lambda x: np.array([x], dtype=float)
    >>> placement_value(np.array([0]), one(1e5), one(0), one(0), one(.5), one(.8), one(1), basis).item()
    480.0
    """
    cpm = np.nan if basis.cpm is None else basis.cpm
    engagement_price = np.nan if basis.engagement_price is None else basis.engagement_price
    known_credibility = np.where(np.isnan(credibility), basis.unknown_credibility, credibility)
    known_margin = np.where(np.isnan(margin), basis.unknown_margin, margin)

    def awareness() -> Floats:
        return impressions * target_share * known_credibility * cpm / 1000.0

    def engagement() -> Floats:
        return engagements * engagement_price

    def conversion() -> Floats:
        return net_revenue * known_margin

    def launch() -> Floats:
        return basis.launch_awareness * awareness() + basis.launch_conversion * conversion()

    formulas = (awareness, engagement, conversion, launch, conversion)
    if len(goal) == 1:
        return formulas[int(goal[0])]()
    return np.choose(goal, np.broadcast_arrays(*(formula() for formula in formulas)))


def roi(value: Floats, cost: Floats, cost_floor: float) -> Floats:
    """ROI = (V - C) / C with C floored.

    >>> roi(np.array([150.0, 5.0]), np.array([100.0, 0.0]), 1.0).tolist()
    [0.5, 4.0]
    """
    floored = np.maximum(cost, cost_floor)
    return (value - floored) / floored
