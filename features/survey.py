"""What must be known of all creators before any can be encoded: words, how noisy readings are, where audiences are.

The survey of a market is the sum of the surveys of its buckets of creators: sets are joined and whole numbers added, so
it is the same to the bit however the creators are divided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import polars as pl

from features.brief_columns import Vocabularies
from features.codes import primary_language
from features.country_prior import CountrySums
from features.encoding import Vocabulary
from features.local_level import Changes
from features.profile import build_audience, order_readings, reading_changes
from features.tables import Tables

_ACCOUNTS = (pl.col("accounts").sum(), pl.col("booked").any())


@dataclass(frozen=True)
class Survey:
    """What some creators add to what all must know.

    Attributes:
        words: of their tables, and of the campaigns.
        persons: number of accounts by person_id, and whether one of them has placements.
        changes: of readings, by signal.
        countries: of their audiences, in the codes of `words`.
        priced_apart: whether any deliverable of theirs has a price of its own.
    """

    words: Vocabularies
    persons: pl.DataFrame
    changes: Mapping[str, Changes]
    countries: CountrySums
    priced_apart: bool

    @classmethod
    def total(cls, parts: Sequence["Survey"]) -> "Survey":
        """The survey of disjoint creators together."""
        words = Vocabularies(
            **{f.name: _joined([getattr(part.words, f.name) for part in parts]) for f in fields(Vocabularies)}
        )
        countries = len(words.country)
        return cls(
            words,
            pl.concat([part.persons for part in parts]).group_by("person_id").agg(_ACCOUNTS),
            {name: Changes.total([part.changes[name] for part in parts]) for name in parts[0].changes},
            CountrySums.total([
                part.countries.recoded(words.country.codes(_column(part.words.country)), countries) for part in parts
            ]),
            any(part.priced_apart for part in parts),
        )  # fmt: skip

    @property
    def recorded_persons(self) -> Vocabulary:
        """Persons whose accounts may have a record that is not the account's own; a person's name is its code."""
        several = self.persons.filter((pl.col("accounts") > 1) & pl.col("booked"))
        return Vocabulary.of(several["person_id"])


def take_survey(tables: Tables) -> Survey:
    """Survey the creators of some tables.

    Args:
        tables: canonical tables whose money is in base currency.
    """
    words = words_of(tables)
    ids = tables.creators.sort("creator_id")
    creator_of = Vocabulary(tuple(ids["creator_id"]))
    readings = tables.creator_snapshots
    codes = creator_of.codes(tables.creator_audience["creator_id"])
    audience = build_audience(tables.creator_audience, codes, "country", words.country)
    priced = tables.creator_prices.drop_nulls(["deliverable", "price"])
    people = ids.drop_nulls("person_id").select(
        "person_id",
        pl.lit(1, dtype=pl.UInt32).alias("accounts"),
        pl.col("creator_id").is_in(tables.placements["creator_id"].unique().implode()).alias("booked"),
    )
    return Survey(
        words,
        people.group_by("person_id").agg(_ACCOUNTS),
        reading_changes(order_readings(readings, creator_of.codes(readings["creator_id"]))),
        CountrySums.of(audience, words.country.codes(ids["country"]), len(words.country)),
        bool((creator_of.codes(priced["creator_id"]) >= 0).any()),
    )


def words_of(tables: Tables) -> Vocabularies:
    """The words of some tables."""

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


def _joined(parts: Sequence[Vocabulary]) -> Vocabulary:
    return Vocabulary.of(text for part in parts for text in part.values)


def _column(words: Vocabulary) -> pl.Series:
    return pl.Series(words.values, dtype=pl.String)
