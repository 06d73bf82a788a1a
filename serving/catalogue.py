"""The catalogue: what is served about every creator as of a day, kept as memory-mapped arrays.

A folder of `.npy` arrays (mapped, so that workers share their pages), `display.arrow` (ids and names) and
`catalogue.json` (day, vocabularies, country prior, levels of overlap, feature hash).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.brief_columns import Vocabularies
from features.context import CreatorState
from features.country_prior import CountryPrior
from features.encoding import Lists, Vocabulary
from features.errors import DataError
from features.market import Market
from features.matrix import creator_state, schema_hash
from features.overlap import Overlap, OverlapLevels, Pairs, Traits, learn_overlap, text_codes
from features.settings import PlanSettings, Settings
from features.tiers import local_tiers, tier_names
from serving.artefact import check_files, checksum, read_json, write_json

FORMAT = 4
EPOCH = date(1970, 1, 1)
DISPLAY = ("creator_id", "person_id", "username", "platform")
LISTED = ("first", "second", "share", "named")  # arrays of an Overlap


@dataclass(frozen=True)
class Catalogue:
    """Creators as of a day.

    Attributes:
        state: arrays that features are computed from.
        display: creator_id, person_id, username, platform, niche (the first it lists), tier, tier_local; a row a
            creator, in the state's order.
        words: vocabularies of the codes in `state`.
        prior: what to expect of unknown audiences.
        cpm_factors: cpm of a country / the general one.
        sample_briefs: briefs like recent campaigns, for warming up.
        overlap: audiences that its creators share; undated, so it counts as always known.
        digest: of the artefact it was loaded from; empty where it was not.
    """

    state: CreatorState
    display: pl.DataFrame
    words: Vocabularies
    prior: CountryPrior
    cpm_factors: Mapping[str, float]
    tier_names: tuple[str, ...]
    currency: str
    sample_briefs: tuple[dict[str, Any], ...]
    overlap: Overlap = field(default_factory=Overlap.unmeasured)
    digest: str = ""

    @property
    def data_as_of(self) -> str:
        """The decision day, ISO 8601; everything in the catalogue was known before it."""
        return (EPOCH + timedelta(days=self.state.day)).isoformat()

    def rows_of(self, creator_ids: Sequence[str]) -> NDArray[np.int64]:
        """Rows of some creators, ascending; those who are not there are left out."""
        ids, wanted = self.display["creator_id"], pl.Series(sorted(set(creator_ids)), dtype=pl.String)
        if not self._in_order:
            return np.flatnonzero(ids.is_in(wanted.implode()).to_numpy())
        at = np.minimum(ids.search_sorted(wanted).to_numpy(), len(ids) - 1).astype(np.int64)
        return np.asarray(at[(ids.gather(at) == wanted).to_numpy()])

    @cached_property
    def _in_order(self) -> bool:
        return self.display["creator_id"].is_sorted()

    def part(self, rows: NDArray[np.int64]) -> "Catalogue":
        """Some of the creators, in the order asked for."""
        overlap = self.overlap.part(rows)
        return replace(self, state=self.state.part(rows), display=self.display[rows], overlap=overlap, digest="")

    def overlaps(self, rows: NDArray[np.int64]) -> Pairs:
        """The pairs of some creators that share an audience, by their positions in `rows`; see `Overlap.among`."""
        return self.overlap.among(rows, self._traits(rows))

    def _traits(self, rows: NDArray[np.int64]) -> Traits:
        display, codes = self.display[rows], self.state.codes
        return Traits(
            person=text_codes(display["person_id"]),
            platform=codes["platform"][rows],
            country=codes["country"][rows],
            niche=text_codes(display["niche"]),
        )


def build_catalogue(market: Market, day: int, settings: Settings) -> Catalogue:
    """The catalogue of a market when deciding on UTC day `day`."""
    return with_overlap(build_part(market, day, settings), market.audience_overlap, settings.plan)


def with_overlap(catalogue: Catalogue, table: pl.DataFrame, plan: PlanSettings) -> Catalogue:
    """A catalogue with what `audience_overlap` says of its creators; pairs that name anyone else are left out.

    Args:
        catalogue: of all creators of a market.
        table: creator_a, creator_b and overlap, in any order.
        plan: levels that learnt ones are shrunk towards.
    """
    row = catalogue.display.select("creator_id").with_row_index("row")
    pairs = table
    for column in ("creator_a", "creator_b"):
        pairs = pairs.join(row.rename({"creator_id": column, "row": f"row_{column}"}), on=column)
    a, b = (pairs[f"row_{column}"].cast(pl.Int64).to_numpy() for column in ("creator_a", "creator_b"))
    traits = catalogue._traits(np.arange(len(catalogue.state)))
    share = pairs["overlap"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return replace(catalogue, overlap=learn_overlap(a, b, share, traits, plan), digest="")


def build_part(market: Market, day: int, settings: Settings) -> Catalogue:
    """The catalogue of a bucket of a market's creators: what they share is known of the joined one (`with_overlap`)."""
    state = creator_state(market, day)
    frame = market.creators.frame
    names = tier_names(settings)
    display = frame.select(*DISPLAY, pl.col("niches").list.first().alias("niche")).with_columns(
        pl.Series("tier", [names[code] for code in state.codes["tier"]], dtype=pl.String),
        pl.Series(
            "tier_local",
            local_tiers(
                frame["platform"].to_list(), state.profile["follower_count"], state.profile["median_views"], settings
            ),
            dtype=pl.String,
        ),
    )
    return Catalogue(
        state=state,
        display=display,
        words=market.words,
        prior=market.prior,
        cpm_factors={c: cpm / settings.value.cpm for c, cpm in settings.value.cpm_by_country.items()},
        tier_names=names,
        currency=market.basis.currency,
        sample_briefs=_sample_briefs(market),
    )


def join_catalogues(parts: Sequence[Catalogue]) -> Catalogue:
    """The catalogue of disjoint creators of one market as of one day, in the order of their ids.

    Args:
        parts: at least one, of which only creators are joined: overlap is learnt of them all (`with_overlap`).
    """
    display = pl.concat([part.display for part in parts])
    order = display["creator_id"].arg_sort().to_numpy()
    states, first = [part.state for part in parts], parts[0].state

    def rows(columns: Sequence[NDArray[Any]]) -> Any:
        return np.concatenate(columns)[order]

    state = replace(
        first,
        profile={name: rows([s.profile[name] for s in states]) for name in first.profile},
        codes={name: rows([s.codes[name] for s in states]) for name in first.codes},
        lists={name: Lists.joined([s.lists[name] for s in states]).rows(order) for name in first.lists},
        static=rows([s.static for s in states]),
        deliverable_prices=rows([s.deliverable_prices for s in states]),
        deliverable_sources=rows([s.deliverable_sources for s in states]),
    )
    return replace(parts[0], state=state, display=display[order], overlap=Overlap.unmeasured(), digest="")


def save_catalogue(catalogue: Catalogue, folder: Path) -> None:
    """Write the catalogue into an existing, empty folder."""
    state = catalogue.state
    for name, array in _arrays(catalogue).items():
        np.save(folder / f"{name}.npy", array)
    # uncompressed, so that it can be memory-mapped
    catalogue.display.write_ipc(folder / "display.arrow", compression="uncompressed")
    data = {
        "format": FORMAT,
        "feature_schema": schema_hash(),
        "day": state.day,
        "creators": len(state),
        "words": {name: list(vocabulary.values) for name, vocabulary in vars(catalogue.words).items()},
        "prior": {
            "weights": catalogue.prior.weights.tolist(),
            "home_share": catalogue.prior.home_share,
            "known": catalogue.prior.known,
        },
        "overlap_levels": vars(catalogue.overlap.levels),
        "cpm_factors": dict(catalogue.cpm_factors),
        "tier_names": list(catalogue.tier_names),
        "currency": catalogue.currency,
        "sample_briefs": list(catalogue.sample_briefs),
        "profile": list(state.profile),
        "codes": list(state.codes),
        "lists": list(state.lists),
        "totals": list(state.totals),
        "checksums": {path.name: checksum(path) for path in sorted(folder.iterdir())},
    }
    write_json(folder, "catalogue.json", data)


def load_catalogue(folder: Path) -> Catalogue:
    """Map a catalogue.

    Raises:
        DataError: it is cut short, of another format or of another feature list.
    """
    try:
        data, found = read_json(folder, "catalogue.json")
        if data["format"] != FORMAT:
            raise DataError(
                f"catalogue in {folder.name} has format {data['format']}, not {FORMAT}: "
                "run `influencer-roi catalogue DIR`"
            )
        if data["feature_schema"] != schema_hash():
            raise DataError(
                f"catalogue in {folder.name} was built for feature schema {data['feature_schema']}, this code computes "
                f"{schema_hash()}: run `influencer-roi catalogue DIR`, or train again"
            )
        check_files(folder, data["checksums"])

        def array(name: str) -> Any:
            return np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False))

        state = CreatorState(
            day=data["day"],
            profile={name: array(f"profile-{name}") for name in data["profile"]},
            codes={name: array(f"code-{name}") for name in data["codes"]},
            lists={
                name: Lists(array(f"list-{name}-offsets"), array(f"list-{name}-codes"), array(f"list-{name}-weights"))
                for name in data["lists"]
            },
            static=array("static"),
            totals={name: array(f"totals-{name}") for name in data["totals"]},
            deliverable_prices=array("deliverable-prices"),
            deliverable_sources=array("deliverable-sources"),
        )
        display = pl.read_ipc(folder / "display.arrow")
        columns = [*state.profile.values(), *state.codes.values(), state.deliverable_prices, state.deliverable_sources]
        lengths = {len(column) for column in columns} | {len(lists.offsets) - 1 for lists in state.lists.values()}
        if lengths | {len(state), display.height} != {data["creators"]}:
            raise ValueError("rows differ between arrays")
        listed = {name: array(f"overlap-{name}") for name in LISTED}
        overlap = Overlap(**listed, levels=OverlapLevels(**data["overlap_levels"]))
        if not len(overlap.first) == len(overlap.second) == len(overlap.share):
            raise ValueError("rows differ between arrays of listed pairs")
        prior = data["prior"]
        return Catalogue(
            state=state,
            display=display,
            words=Vocabularies(**{name: Vocabulary(tuple(values)) for name, values in data["words"].items()}),
            prior=CountryPrior(np.array(prior["weights"]), prior["home_share"], prior["known"]),
            cpm_factors=data["cpm_factors"],
            tier_names=tuple(data["tier_names"]),
            currency=data["currency"],
            sample_briefs=tuple(data["sample_briefs"]),
            overlap=overlap,
            digest=found,
        )
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"catalogue in {folder.name} cannot be read ({type(error).__name__}: {error}): "
            "run `influencer-roi catalogue DIR`"
        ) from error


def _arrays(catalogue: Catalogue) -> dict[str, Any]:
    state = catalogue.state
    arrays: dict[str, Any] = {
        "static": state.static,
        "deliverable-prices": state.deliverable_prices,
        "deliverable-sources": state.deliverable_sources,
    }
    arrays |= {f"profile-{name}": column for name, column in state.profile.items()}
    arrays |= {f"code-{name}": column for name, column in state.codes.items()}
    arrays |= {f"overlap-{name}": getattr(catalogue.overlap, name) for name in LISTED}
    arrays |= {f"totals-{name}": values for name, values in state.totals.items()}
    for name, lists in state.lists.items():
        arrays |= {
            f"list-{name}-offsets": lists.offsets,
            f"list-{name}-codes": lists.codes,
            f"list-{name}-weights": lists.weights,
        }
    return arrays


def _sample_briefs(market: Market, most: int = 3) -> tuple[dict[str, Any], ...]:
    """The newest campaign of up to `most` goals, as briefs with room in the budget."""
    frame = market.campaign_frame.sort("starts_on", "campaign_id", descending=[True, False], nulls_last=True)
    newest = frame.unique(subset="goal", keep="first", maintain_order=True).head(most)
    return tuple(
        {
            "goal": row["goal"],
            "budget": 1e12,
            "target_countries": {entry["code"]: entry["weight"] for entry in row["target_countries"] or ()},
            "niches": row["niches"] or [],
        }
        for row in newest.iter_rows(named=True)
    )
