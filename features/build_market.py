"""From checked tables to a `Market`: words to codes, facts sorted, placements valued, track records run."""

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features import asof, money
from features.brief_columns import Vocabularies, encode_briefs
from features.check_market import commission_only_rate
from features.codes import primary_language
from features.encoding import Lists, Vocabulary
from features.geography import value_share
from features.market import OUTCOMES, Creators, DeliverablePrices, Market, Placements, entity_codes
from features.profile import build_audience, build_readings
from features.record import build_history, placement_amounts
from features.settings import Settings
from features.shrinkage import market_pairs
from features.tables import Tables
from features.usual import usual_log_rate, usual_log_views
from features.value import ValueBasis, placement_value

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PRIOR_DAYS = 30  # how often the expectation of unknown audiences is taken anew


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
    codes = market.codes(p.creator, profile)
    audience = market.lists(p.creator, p.agreed)["country"]
    share = value_shares(market, audience, codes["country"], p.campaign, p.agreed)
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
    everybody = np.zeros(len(p), dtype=np.int64)
    niche = market.campaigns.niche[p.campaign]
    entities = {
        "market": everybody,
        "creator": p.creator,
        "person": codes["person"],
        "brand": market.campaigns.brand[p.campaign],
        "deliverable": p.deliverable,
        "niche": niche,
        **entity_codes(codes, goal, niche, market.words, market.tier_count),
    }
    amounts = placement_amounts(
        {**placements.outcomes, "delivered": p.delivered, "cost": p.cost, "fee": fee,
         "follower_count": profile["follower_count"], "usual_log_views": usual_log_views(profile),
         "usual_log_rate": usual_log_rate(profile)}
    )  # fmt: skip
    histories = {name: build_history(entity, p.settled, amounts) for name, entity in entities.items()}
    before = histories["market"].at(everybody, p.settled)
    order = p.ids.rank("ordinal").to_numpy().astype(np.int64)
    pairs = market_pairs(entities, p.settled, amounts, before, order)
    histories["market"] = build_history(everybody, p.settled, np.hstack([amounts, pairs]))
    return replace(market, placements=placements, histories=histories)


def value_shares(market: Market, audience: Lists, home: Ints, campaign: Ints, day: Ints) -> Floats:
    """g of the value formula; an unknown audience is filled by what was known before the day's month began.

    Args:
        market: the encoded data.
        audience: countries of each creator's audience, n rows.
        home: country codes of the creators, shape (n,).
        campaign: campaign codes, shape (n,).
        day: UTC decision days, shape (n,).
    """
    month = day // PRIOR_DAYS
    share = np.ones(len(day))
    for number in np.unique(month):
        rows = np.flatnonzero(month == number)
        prior = market.prior_at(int(number) * PRIOR_DAYS)
        share[rows] = value_share(audience.rows(rows), home[rows], market.campaigns, campaign[rows], prior)
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
        propensity=column("propensity"),
        outcomes={name: outcomes[name] for name in OUTCOMES},
        overridden=~np.isnan(outcomes["value"]),
    )
