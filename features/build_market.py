"""From checked tables to a `Market`: words to codes, facts sorted, placements valued, track records run."""

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features import asof, money
from features.brief_columns import BriefColumns, Vocabularies, encode_briefs
from features.check_market import commission_only_rate
from features.codes import primary_languages
from features.encoding import Lists, Vocabulary
from features.market import OUTCOMES, Creators, DeliverablePrices, Market, Placements
from features.profile import build_audience, build_readings, order_readings
from features.record import run_totals
from features.settings import Settings
from features.shared_record import shared_histories, value_placements
from features.survey import Survey, take_survey
from features.tables import Tables
from features.value import ValueBasis

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shared:
    """What is the same for every bucket of a market's creators.

    Attributes:
        survey: of all creators.
        persons: who has a record as a person.
        campaigns: encoded, in the order of `campaign_frame`.
        as_of: UTC decision day of `Market.prior`, which the catalogue is served with.
        commission_rate: share of net revenue that a placement costs, where it is always the same.
    """

    settings: Settings
    basis: ValueBasis
    survey: Survey
    persons: Vocabulary
    campaigns: BriefColumns
    campaign_frame: pl.DataFrame
    as_of: int
    commission_rate: float | None


def build_market(tables: Tables, settings: Settings, as_of: int) -> Market:
    """Encode checked tables whose money is in base currency: a market of one bucket.

    Args:
        tables: canonical tables.
        settings: configuration.
        as_of: UTC decision day of `Market.prior`, which the catalogue is served with.
    """
    market = encode_bucket(tables, share(tables, take_survey(tables), settings, as_of, commission_only_rate(tables)))
    valued = value_placements(market)
    shared = shared_histories([valued.contribution(len(market.creators))])
    return replace(
        market, placements=valued.placements, histories={**shared, "creator": run_totals(valued.own_records())}
    )


def share(tables: Tables, survey: Survey, settings: Settings, as_of: int, commission_rate: float | None) -> Shared:
    """What buckets share; of `tables` only campaigns and fx are read.

    Args:
        tables: of any bucket: campaigns and fx are whole in each.
        survey: of all creators.
        settings: configuration.
        as_of: see Shared.
        commission_rate: of all placements.
    """
    base = money.base_currency(tables, settings)
    rate = money.rate(tables, settings.value.price_currency, base, settings=settings)
    factors = {country: cpm / settings.value.cpm for country, cpm in settings.value.cpm_by_country.items()}
    return Shared(
        settings=settings,
        basis=ValueBasis.from_settings(settings.value, base, rate),
        survey=survey,
        persons=survey.recorded_persons,
        campaigns=encode_briefs(_campaign_rows(tables.campaigns), survey.words, factors),
        campaign_frame=tables.campaigns,
        as_of=as_of,
        commission_rate=commission_rate,
    )


def encode_bucket(tables: Tables, shared: Shared) -> Market:
    """Encode some creators of a market and all that is about them; values and track records are still to come.

    Args:
        tables: canonical tables of the bucket, money in base currency.
        shared: of the whole market.
    """
    words = shared.survey.words
    ids = tables.creators.sort("creator_id")
    creator_of = Vocabulary(tuple(ids["creator_id"]))
    audience_creator = creator_of.codes(tables.creator_audience["creator_id"])
    snapshots = tables.creator_snapshots
    return Market(
        settings=shared.settings,
        basis=shared.basis,
        words=words,
        creators=_creators(ids, words, shared.persons),
        readings=build_readings(
            order_readings(snapshots, creator_of.codes(snapshots["creator_id"])), shared.survey.changes
        ),
        audience={
            dimension: build_audience(tables.creator_audience, audience_creator, dimension, vocabulary)
            for dimension, vocabulary in (
                ("country", words.country),
                ("language", words.language),
                ("interest", words.niche),
            )
        },
        audience_overlap=tables.audience_overlap,
        countries=shared.survey.countries,
        prices=_prices(tables.creator_prices, creator_of, words),
        priced_apart=shared.survey.priced_apart,
        campaigns=shared.campaigns,
        campaign_frame=shared.campaign_frame,
        placements=_placements(tables, creator_of, words),
        histories={},
        as_of=shared.as_of,
        commission_rate=shared.commission_rate,
    )


def _creators(frame: pl.DataFrame, words: Vocabularies, persons: Vocabulary) -> Creators:
    # a niche named twice is one niche; `Lists.of` brings the rows back into order
    exploded = frame.select("niches").with_row_index("row").explode("niches").unique()
    language = primary_languages(frame["language"])
    return Creators(
        frame=frame,
        platform=words.platform.codes(frame["platform"]),
        country=words.country.codes(frame["country"]),
        language=words.language.codes(language),
        person=persons.codes(frame["person_id"]),
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
        weights: dict[str, float] = {}
        for entry in row["target_countries"] or ():
            weights[entry["code"]] = weights.get(entry["code"], 0.0) + entry["weight"]
        row["target_countries"] = weights
    return rows


def _prices(prices: pl.DataFrame, creator_of: Vocabulary, words: Vocabularies) -> DeliverablePrices:
    deliverables = max(len(words.deliverable), 1)
    frame = pl.DataFrame(
        {
            "creator": creator_of.codes(prices["creator_id"]),
            "deliverable": words.deliverable.codes(prices["deliverable"]),
            "day": asof.days(prices["known_at"]),
            "read_at": prices["snapshot_at"].fill_null(datetime(1, 1, 1)),
            "price": prices["price"],
            "source": prices["price_source"].replace_strict(
                ["quoted", "paid", "estimated"], [0.0, 1.0, 2.0], default=0.0, return_dtype=pl.Float64
            ),
        }
    ).filter((pl.col("creator") >= 0) & (pl.col("deliverable") >= 0) & pl.col("price").is_not_null())
    # as of readings: one that arrives late and is older than one already known says nothing about the present
    frame = frame.sort("creator", "deliverable", "day", "read_at", "price", "source")
    frame = frame.filter(pl.col("read_at") >= pl.col("read_at").cum_max().over("creator", "deliverable"))
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
        posted=np.where(frame["posted_at"].is_null(), np.nan, asof.days(frame["posted_at"])),
        delivered=column("delivered"),
        reach=column("reach"),
        fee=column("fee"),
        extra_cost=np.nan_to_num(column("product_cost")) + np.nan_to_num(column("other_cost")),
        value_share=np.full(frame.height, np.nan),
        propensity=column("propensity"),
        outcomes={name: outcomes[name] for name in OUTCOMES},
        overridden=~np.isnan(outcomes["value"]),
    )
