"""Everything a team may configure: one TOML file, `config.toml` in the home.

What the file leaves out keeps the default below; the values in force are printed with every result.
"""

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from features.errors import DataError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ValueSettings(_Section):
    """What an outcome is worth under each goal (the formulas are in `features.value`)."""

    cpm: Positive = Field(12.0, description="worth of 1,000 credible in-target impressions")
    cpm_by_country: dict[str, Positive] = Field(default_factory=dict, description="cpm where a country differs")
    engagement_price: Positive = Field(0.10, description="worth of one engagement")
    price_currency: str = Field("USD", description="currency of cpm and engagement_price")
    launch_awareness: float = Field(0.5, ge=0, description="weight of awareness in a launch")
    launch_conversion: float = Field(1.0, ge=0, description="weight of conversion in a launch")
    unknown_credibility: Fraction = Field(0.78, description="audience credibility where none is known")
    unknown_margin: Fraction = Field(1.0, description="product margin where none is known")
    home_share: Fraction = Field(
        0.6, description="audience share in the creator's own country, where neither it nor any peer's is known"
    )
    cost_floor: Positive = Field(1.0, description="least cost in ROI = (V - C) / C, base currency")


class PlanSettings(_Section):
    """What a set of creators loses against the sum of its parts, where the data say nothing of it.

    All are working assumptions. Overlap is shared / smaller audience; levels of pairs are learnt from the table
    audience_overlap where it is given (`features.overlap`).
    """

    overlap_same_person: Fraction = Field(0.40, description="working assumption: overlap of two accounts of one person")
    overlap_same_platform_niche: Fraction = Field(
        0.10, description="working assumption: overlap of two creators of one country, niche and platform"
    )
    overlap_same_niche: Fraction = Field(
        0.06, description="working assumption: overlap of two creators of one country and niche, on two platforms"
    )
    overlap_same_creator: Fraction = Field(
        0.50, description="working assumption: overlap of two deliverables of one creator"
    )
    delivery_rate: Fraction | None = Field(
        None, description="probability that an agreed placement is posted; left out: learnt from past placements"
    )
    fatigue: Fraction = Field(
        0.08, description="working assumption: value lost by each further placement with the same creator"
    )


class Tier(_Section):
    """One tier: its name and the count below which it ends (None: open)."""

    name: str
    below: float | None = None


def _tiers(*pairs: tuple[str, float | None]) -> tuple[Tier, ...]:
    return tuple(Tier(name=name, below=below) for name, below in pairs)


TIERS = _tiers(("nano", 1e4), ("micro", 1e5), ("macro", 1e6), ("mega", None))
LOCAL_TIERS = {
    "xiaohongshu": _tiers(("koc", 1e4), ("tail", 5e4), ("waist", 5e5), ("head", None)),
    "douyin": _tiers(("tail", 1e5), ("waist", 1e6), ("head", None)),
    "weibo": _tiers(("tail", 1e5), ("waist", 1e6), ("shoulder", 5e6), ("head", None)),
    "wechat": _tiers(("tail", 5e3), ("waist", 5e4), ("head", None)),
}


class Settings(_Section):
    """All settings.

    >>> Settings().value.cpm
    12.0
    """

    base_currency: str = Field("USD", description="used where the data hold more than one currency")
    attribution_days: int = Field(30, ge=0, description="days after which an outcome is final, by default")
    fx_max_age_days: int = Field(7, ge=0, description="oldest rate that still converts")
    value: ValueSettings = ValueSettings()
    plan: PlanSettings = PlanSettings()
    tiers: tuple[Tier, ...] = TIERS
    local_tiers: dict[str, tuple[Tier, ...]] = Field(default_factory=lambda: dict(LOCAL_TIERS))
    tier_by_reads: tuple[str, ...] = Field(("wechat",), description="platforms tiered by median views")


def load_settings(path: Path) -> Settings:
    """Read settings from a TOML file; a file that is not there means the defaults.

    Raises:
        DataError: the file is not TOML, or names a setting that does not exist or has a wrong value.

    >>> load_settings(Path("no-such-file.toml")).base_currency
    'USD'
    """
    if not path.exists():
        return Settings()
    try:
        return Settings.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} is not valid TOML: {error}. Mend or remove {path}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path.name}: {where}: {first['msg']}. Mend {path}.", field=where) from error
