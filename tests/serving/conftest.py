from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from features.brief import parse_brief
from features.build_market import build_market
from features.context import CreatorState
from features.market import Market
from features.money import in_base_currency
from features.reading import typed
from features.settings import Settings
from features.tables import build
from serving.candidates import candidates
from serving.catalogue import Catalogue, build_catalogue
from serving.model import Model
from serving.release import Release
from training.dataset import Dataset, build_dataset
from training.funnel_fit import fit_model
from training.intervals import fit_intervals
from training.sample import make_market
from training.split import labelled, newest_fact
from training.stage_fit import FitOptions

Frames = dict[str, pl.DataFrame]


@dataclass(frozen=True)
class World:
    """A market, and the model and catalogue it taught."""

    market: Market
    as_of: int
    data: Dataset
    model: Model
    catalogue: Catalogue

    @property
    def release(self) -> Release:
        return Release(self.model, self.catalogue)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    # threads that wait for each other on a busy machine take ten times as long
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def frames() -> Frames:
    raw = make_market(creators=400, placements=2500, snapshots=9, seed=1)
    return {name: typed(name, table)[0] for name, table in raw.items()}


@pytest.fixture(scope="session")
def few() -> Frames:
    """A market small enough to be taught again and again."""
    raw = make_market(creators=120, placements=700, snapshots=7, seed=2)
    return {name: typed(name, table)[0] for name, table in raw.items()}


@pytest.fixture(scope="session")
def teach() -> Callable[..., World]:
    """Frames to a model and a catalogue of the day after the newest fact."""

    def taught(frames: Mapping[str, pl.DataFrame], trees: int = 5) -> World:
        settings = Settings()
        tables = in_base_currency(build(frames, settings), settings)
        as_of = newest_fact(tables) + 1
        market = build_market(tables, settings, as_of)
        data = build_dataset(market)
        rows = labelled(market.placements, as_of)
        model = fit_model(market, data.x[rows], data.labels.part(rows), FitOptions(trees=trees, threads=1))
        rng = np.random.default_rng(0)
        expected = rng.lognormal(4, 1, 600)
        actual = expected * rng.lognormal(-0.3, 0.8, 600)
        intervals = fit_intervals(actual, expected, np.repeat(["conversion", "other"], 300))
        model = replace(model, intervals=intervals, version="7", card={"version": "7", "synthetic": True})
        return World(market, as_of, data, model, build_catalogue(market, as_of, settings))

    return taught


@pytest.fixture(scope="session")
def world(frames: Frames, teach: Callable[..., World]) -> World:
    """With newcomers that nothing is known of, and prices by deliverable for some."""
    names = frames["creators"]["creator_id"]
    columns = {"creator_id": ["new-1", "new-2"], "platform": ["tiktok", "a new place"]}
    creators = pl.concat([frames["creators"], pl.DataFrame(columns)], how="diagonal")
    priced = {"creator_id": names[:40], "deliverable": ["reel"] * 40, "price": np.arange(40) * 10.0 + 50,
              "price_source": ["paid"] * 40}  # fmt: skip
    prices = typed("creator_prices", pl.DataFrame(priced))[0]
    return teach({**frames, "creators": creators, "creator_prices": prices}, trees=20)


@pytest.fixture(scope="session")
def seen(world: World) -> np.ndarray:
    """Features of the catalogue's creators for one brief, shape (n, f)."""
    brief = {"goal": "awareness", "budget": 1e9, "target_countries": {"SG": 1.0}, "niches": ["beauty"],
             "languages": ["en"], "product_price": 20.0}  # fmt: skip
    return candidates(world.release, parse_brief(brief)).x


@pytest.fixture(scope="session")
def arrays() -> Callable[[CreatorState], dict[str, np.ndarray]]:
    """Every array of a catalogue's state by name."""

    def of(state: CreatorState) -> dict[str, np.ndarray]:
        found = {"static": state.static, "prices": state.deliverable_prices, "sources": state.deliverable_sources}
        for kind in ("profile", "codes", "totals"):
            found |= {f"{kind}.{name}": array for name, array in getattr(state, kind).items()}
        for name, lists in state.lists.items():
            found |= {f"{name}.{part}": getattr(lists, part) for part in ("offsets", "codes", "weights")}
        return found

    return of
