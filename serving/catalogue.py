"""The catalogue: what is served about every creator as of a day, kept as memory-mapped arrays.

A folder of `.npy` arrays (mapped, so that workers share their pages), `display.arrow` (ids and names) and
`catalogue.json` (day, vocabularies, country prior, feature hash).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from features.settings import Settings
from features.tiers import local_tiers, tier_names
from serving.artefact import check_files, checksum, read_json, write_json

FORMAT = 3
EPOCH = date(1970, 1, 1)
DISPLAY = ("creator_id", "person_id", "username", "platform")


@dataclass(frozen=True)
class Catalogue:
    """Creators as of a day.

    Attributes:
        state: arrays that features are computed from.
        display: creator_id, person_id, username, platform, tier, tier_local; a row a creator, in the state's order.
        words: vocabularies of the codes in `state`.
        prior: what to expect of unknown audiences.
        cpm_factors: cpm of a country / the general one.
        sample_briefs: briefs like recent campaigns, for warming up.
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
        return replace(self, state=self.state.part(rows), display=self.display[rows], digest="")


def build_catalogue(market: Market, day: int, settings: Settings) -> Catalogue:
    """The catalogue of a market when deciding on UTC day `day`."""
    state = creator_state(market, day)
    frame = market.creators.frame
    names = tier_names(settings)
    display = frame.select(DISPLAY).with_columns(
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
        parts: at least one.
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
    return replace(parts[0], state=state, display=display[order], digest="")


def save_catalogue(catalogue: Catalogue, folder: Path) -> None:
    """Write the catalogue into an existing, empty folder."""
    state = catalogue.state
    for name, array in _arrays(state).items():
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
            digest=found,
        )
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"catalogue in {folder.name} cannot be read ({type(error).__name__}: {error}): "
            "run `influencer-roi catalogue DIR`"
        ) from error


def _arrays(state: CreatorState) -> dict[str, Any]:
    arrays: dict[str, Any] = {
        "static": state.static,
        "deliverable-prices": state.deliverable_prices,
        "deliverable-sources": state.deliverable_sources,
    }
    arrays |= {f"profile-{name}": column for name, column in state.profile.items()}
    arrays |= {f"code-{name}": column for name, column in state.codes.items()}
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
