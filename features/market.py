"""A team's data encoded once: sorted facts that can be asked for any creator on any day."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features import asof, money
from features.brief_columns import BriefColumns, Vocabularies, encode_briefs
from features.check_market import commission_only_rate
from features.codes import primary_language
from features.encoding import Lists, Vocabulary
from features.geography import CountryPrior, country_prior, value_share
from features.profile import AudienceSets, Readings, audience_at, build_audience, build_readings, profile_at
from features.record import History, build_history, placement_amounts
from features.settings import Settings
from features.tables import Tables
from features.tiers import tier_codes, tier_names
from features.value import GOALS, ValueBasis, placement_value

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PRIOR_DAYS = 30  # how often the expectation of unknown audiences is taken anew
OUTCOMES = ("impressions", "engagements", "clicks", "conversions", "net_revenue", "value")


@dataclass(frozen=True)
class Creators:
    """Facts about creators that carry no date; a creator's code is its row, sorted by creator_id."""

    frame: pl.DataFrame
    platform: Ints
    country: Ints
    language: Ints
    person: Ints
    verified: Floats
    niches: Lists

    def __len__(self) -> int:
        return self.frame.height


@dataclass(frozen=True)
class Placements:
    """p placements in the order of their table, shape (p,) each.

    `value_share` is g of the value formula. `outcomes` are NaN where unknown; `value` is by the formula or the data's
    own override (`overridden`).
    """

    ids: pl.Series
    creator: Ints
    campaign: Ints
    deliverable: Ints
    agreed: Ints
    settled: Ints
    delivered: Floats
    fee: Floats
    extra_cost: Floats
    value_share: Floats
    outcomes: Mapping[str, Floats]
    overridden: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.creator)

    @property
    def cost(self) -> Floats:
        """Fee + product cost + other cost; NaN where the fee is unknown."""
        return self.fee + self.extra_cost


@dataclass(frozen=True)
class DeliverablePrices:
    """Prices by creator and deliverable, sorted by (creator x deliverables + deliverable, day known)."""

    keys: Ints
    price: Floats
    source: Floats


@dataclass(frozen=True)
class Market:
    """Everything features are computed from. Money is in `basis.currency`."""

    settings: Settings
    basis: ValueBasis
    words: Vocabularies
    creators: Creators
    readings: Readings
    audience: Mapping[str, AudienceSets]
    prices: DeliverablePrices
    campaigns: BriefColumns
    campaign_frame: pl.DataFrame
    placements: Placements
    histories: Mapping[str, History]
    as_of: int
    commission_rate: float | None

    @property
    def tier_count(self) -> int:
        """Number of tiers, the unknown one included."""
        return len(tier_names(self.settings))

    @property
    def prior(self) -> CountryPrior:
        """What to expect of an unknown audience when deciding on the market's as-of day."""
        return self.prior_at(self.as_of)

    def prior_at(self, day: int) -> CountryPrior:
        """What to expect of an unknown audience from what was known before a day."""
        home = self.creators.country
        countries = len(self.words.country)
        return country_prior(self.audience["country"], home, countries, day, self.settings.value.home_share)

    def profile(self, creator: Ints, day: Ints) -> dict[str, Floats]:
        """Readings known before each day, and what is undated."""
        profile = profile_at(self.readings, creator, day)
        profile["is_verified"] = self.creators.verified[creator]
        return profile

    def lists(self, creator: Ints, day: Ints) -> dict[str, Lists]:
        """Niches, and the audience breakdowns known before each day."""
        audience = {name: audience_at(sets, creator, day) for name, sets in self.audience.items()}
        return {"niches": self.creators.niches.rows(creator), **audience}

    def codes(self, creator: Ints, followers: Floats) -> dict[str, Ints]:
        """Platform, country, language, person and tier codes."""
        c = self.creators
        return {
            "platform": c.platform[creator],
            "country": c.country[creator],
            "language": c.language[creator],
            "person": c.person[creator],
            "tier": tier_codes(followers, self.settings),
        }


def entity_codes(codes: Mapping[str, Ints], goal: Ints, words: Vocabularies, tiers: int) -> dict[str, Ints]:
    """Entity of each row for the records that join two things; goal has shape (n,) or (1,)."""
    platforms = max(len(words.platform), 1)
    tier, platform = codes["tier"], codes["platform"]
    return {
        "tier": tier,
        "platform": platform,
        "peers": np.where(platform >= 0, platform * tiers + tier, -1),
        "goal": goal,
        "goal_tier": goal * tiers + tier,
        "goal_platform": np.where(platform >= 0, goal * platforms + platform, -1),
    }


def build_market(tables: Tables, settings: Settings, as_of: int) -> Market:
    """Encode checked tables whose money is in base currency.

    Args:
        tables: canonical tables.
        settings: configuration.
        as_of: UTC decision day of `Market.prior`, which the catalogue is served with.
    """
    base = money.base_currency(tables, settings)
    rate = money.rate(tables, settings.value.price_currency, base, settings=settings)
    basis = ValueBasis.from_settings(settings.value, base, rate)
    words = _vocabularies(tables)
    ids = tables.creators.sort("creator_id")
    creator_of = Vocabulary(tuple(ids["creator_id"]))
    creators = _creators(ids, words)
    audience_creator = creator_of.codes(tables.creator_audience["creator_id"])
    audience = {
        dimension: build_audience(tables.creator_audience, audience_creator, dimension, vocabulary)
        for dimension, vocabulary in (
            ("country", words.country),
            ("language", words.language),
            ("interest", words.niche),
        )
    }
    factors = {country: cpm / settings.value.cpm for country, cpm in settings.value.cpm_by_country.items()}
    market = Market(
        settings=settings,
        basis=basis,
        words=words,
        creators=creators,
        readings=build_readings(tables.creator_snapshots, creator_of.codes(tables.creator_snapshots["creator_id"])),
        audience=audience,
        prices=_prices(tables.creator_prices, creator_of, words),
        campaigns=encode_briefs(_campaign_rows(tables.campaigns), words, factors),
        campaign_frame=tables.campaigns,
        placements=_placements(tables, creator_of, words),
        histories={},
        as_of=as_of,
        commission_rate=commission_only_rate(tables),
    )
    return _with_histories(market)


def _with_histories(market: Market) -> Market:
    """Value every placement under its goal, then run the totals of every kind of entity."""
    p = market.placements
    profile = market.profile(p.creator, p.agreed)
    codes = market.codes(p.creator, profile["follower_count"])
    share = _value_shares(market, codes["country"])
    goal = market.campaigns.goal[p.campaign]
    formula = placement_value(
        goal,
        p.outcomes["impressions"],
        p.outcomes["engagements"],
        p.outcomes["net_revenue"],
        share,
        profile["audience_credibility"],
        market.campaigns.numbers["product_margin"][p.campaign],
        market.basis,
    )
    value = np.where(p.overridden, p.outcomes["value"], np.where(p.delivered > 0, formula, 0.0))
    placements = replace(p, outcomes={**p.outcomes, "value": value}, value_share=share)
    # a commission is known only with the sale, so it says nothing about what a creator charges
    fee = np.full(len(p), np.nan) if market.commission_rate is not None else p.fee
    amounts = placement_amounts(
        {**placements.outcomes, "delivered": p.delivered, "cost": p.cost, "fee": fee,
         "follower_count": profile["follower_count"]}
    )  # fmt: skip
    entities = {
        "market": np.zeros(len(p), dtype=np.int64),
        "creator": p.creator,
        "person": codes["person"],
        "brand": market.campaigns.brand[p.campaign],
        "niche": market.campaigns.niche[p.campaign],
        "deliverable": p.deliverable,
        **entity_codes(codes, goal, market.words, market.tier_count),
    }
    histories = {name: build_history(entity, p.settled, amounts) for name, entity in entities.items()}
    return replace(market, placements=placements, histories=histories)


def _value_shares(market: Market, home: Ints) -> Floats:
    """g of every placement, shape (p,); an unknown audience is filled by what was known before its month began."""
    p = market.placements
    lists = market.lists(p.creator, p.agreed)["country"]
    month = p.agreed // PRIOR_DAYS
    share = np.ones(len(p))
    for number in np.unique(month):
        rows = np.flatnonzero(month == number)
        prior = market.prior_at(int(number) * PRIOR_DAYS)
        share[rows] = value_share(lists.rows(rows), home[rows], market.campaigns, p.campaign[rows], prior)
    return share


def _vocabularies(tables: Tables) -> Vocabularies:
    def listed(column: pl.Series) -> list[str]:
        return column.explode().drop_nulls().unique().to_list()

    def coded(column: pl.Series) -> list[str]:
        return listed(column.list.eval(pl.element().struct.field("code")))

    def audience(dimension: str) -> list[str]:
        return tables.creator_audience.filter(pl.col("dimension") == dimension)["code"].drop_nulls().unique().to_list()

    creators, campaigns = tables.creators, tables.campaigns
    languages = [*creators["language"].drop_nulls().unique(), *listed(campaigns["languages"]), *audience("language")]
    return Vocabularies(
        platform=Vocabulary.of([*creators["platform"].unique(), *listed(campaigns["platforms"])]),
        country=Vocabulary.of(
            [*creators["country"].unique(), *coded(campaigns["target_countries"]), *audience("country")]
        ),
        language=Vocabulary.of(primary_language(tag) for tag in languages),
        niche=Vocabulary.of([*listed(creators["niches"]), *listed(campaigns["niches"]), *audience("interest")]),
        brand=Vocabulary.of(campaigns["brand_id"].unique()),
        deliverable=Vocabulary.of(
            [*tables.placements["deliverable"].unique(), *tables.creator_prices["deliverable"].unique()]
        ),
    )


def _creators(frame: pl.DataFrame, words: Vocabularies) -> Creators:
    # a niche named twice is one niche; `Lists.of` brings the rows back into order
    exploded = frame.select("niches").with_row_index("row").explode("niches").unique()
    language = frame["language"].map_elements(primary_language, return_dtype=pl.String)
    person = Vocabulary.of(frame["person_id"].unique())
    return Creators(
        frame=frame,
        platform=words.platform.codes(frame["platform"]),
        country=words.country.codes(frame["country"]),
        language=words.language.codes(language),
        person=person.codes(frame["person_id"]),
        verified=frame["is_verified"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
        niches=Lists.of(
            exploded["row"].cast(pl.Int64).to_numpy(),
            words.niche.codes(exploded["niches"]),
            np.ones(exploded.height),
            frame.height,
        ),
    )


def _campaign_rows(campaigns: pl.DataFrame) -> list[dict[str, object]]:
    rows = campaigns.to_dicts()
    for row in rows:
        row["target_countries"] = {entry["code"]: entry["weight"] for entry in row["target_countries"] or ()}
    return rows


def _prices(prices: pl.DataFrame, creator_of: Vocabulary, words: Vocabularies) -> DeliverablePrices:
    deliverables = max(len(words.deliverable), 1)
    frame = pl.DataFrame(
        {
            "creator": creator_of.codes(prices["creator_id"]),
            "deliverable": words.deliverable.codes(prices["deliverable"]),
            "day": asof.days(prices["known_at"]),
            "price": prices["price"],
            "source": prices["price_source"].replace_strict(
                ["quoted", "paid", "estimated"], [0.0, 1.0, 2.0], default=0.0, return_dtype=pl.Float64
            ),
        }
    ).filter((pl.col("creator") >= 0) & (pl.col("deliverable") >= 0) & pl.col("price").is_not_null())
    frame = frame.sort("creator", "deliverable", "day", "price", "source")
    entity = (frame["creator"] * deliverables + frame["deliverable"]).to_numpy()
    return DeliverablePrices(
        asof.keys(entity, frame["day"].to_numpy()), frame["price"].to_numpy(), frame["source"].to_numpy()
    )


def _placements(tables: Tables, creator_of: Vocabulary, words: Vocabularies) -> Placements:
    frame = tables.placements
    campaign_of = pl.DataFrame({"campaign_id": tables.campaigns["campaign_id"]}).with_row_index("campaign")
    campaign = frame.select("campaign_id").join(campaign_of, on="campaign_id", how="left", maintain_order="left")

    def column(name: str) -> Floats:
        return frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()

    outcomes = {name: column(name) for name in ("impressions", "engagements", "clicks", "conversions", "value")}
    outcomes["net_revenue"] = column("revenue") - np.nan_to_num(column("refunds"))
    return Placements(
        ids=frame["placement_id"],
        creator=creator_of.codes(frame["creator_id"]),
        campaign=campaign["campaign"].cast(pl.Int64).to_numpy(),
        deliverable=words.deliverable.codes(frame["deliverable"]),
        agreed=asof.days(frame["agreed_on"]),
        settled=asof.days(frame["settled_at"]),
        delivered=column("delivered"),
        fee=column("fee"),
        extra_cost=np.nan_to_num(column("product_cost")) + np.nan_to_num(column("other_cost")),
        value_share=np.full(frame.height, np.nan),
        outcomes={name: outcomes[name] for name in OUTCOMES},
        overridden=~np.isnan(outcomes["value"]),
    )


__all__ = ["GOALS", "Creators", "Market", "Placements", "build_market", "entity_codes"]
