"""What is timed: the model as shipped and a big one, and catalogues of any size, all in one home."""

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

SCRIPT = Path(sys.executable).with_name("influencer-roi")
BRIEF = {"goal": "conversion", "budget": 5000, "niches": ["beauty"], "target_countries": {"SG": 0.7, "MY": 0.3}}
FEW = {**BRIEF, "filters": {"tiers": ["micro"], "countries": ["SG"]}}
SHIPPED, BIG = "shipped", "big"
TREES, LEAVES, READ = 400, 31, 40  # of the big model: trees of the conversion path, their leaves, features they ask
WHAT = {SHIPPED: "model as shipped", BIG: f"{TREES} trees x {LEAVES} leaves x {READ} features"}


def trained(work: Path) -> Path:
    """A home trained on the sample market, made in `work` unless it lies there."""
    from serving.release_file import FILE

    market, home = work / "market", work / "home"
    if not (home / FILE).exists():
        for arguments in (["sample", market], ["train", market, "--home", home]):
            print(f"influencer-roi {arguments[0]} ...", flush=True)
            subprocess.run([SCRIPT, *arguments], check=True, stdout=subprocess.DEVNULL)
    return home


def publish(work: Path, model: str, creators: int) -> Path:
    """Put a model (SHIPPED or BIG) and a grown catalogue in force, made if they are not there; the home."""
    from serving.release_file import CATALOGUE, MODEL, ReleaseFile, read_release_file, write_release_file

    home, first = trained(work), work / "first.txt"
    if not first.exists():
        names = read_release_file(home)
        first.write_text(f"{names.model}\n{names.catalogue}\n")
    shipped, catalogue = first.read_text().split()
    tags = {SHIPPED: shipped, BIG: f"{MODEL}:{BIG}"}
    grown = f"{CATALOGUE}:grown-{creators}"
    _made(home, tags[BIG], lambda folder: write_big(home, shipped, work / "market", folder))
    _made(home, grown, lambda folder: write_catalogue(home, catalogue, creators, folder))
    write_release_file(home, ReleaseFile(tags[model], grown))
    return home


def _made(home: Path, tag: str, write: Callable[[Path], None]) -> None:
    """An artefact of the home's store, written unless it is there whole."""
    from serving.release_file import store_path

    folder = store_path(home, tag)
    if folder.exists():
        return
    print(f"making {tag} ...", flush=True)
    beside = folder.with_name(f".{folder.name}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    write(beside)
    beside.rename(folder)


def write_catalogue(home: Path, tag: str, creators: int, folder: Path) -> None:
    from benchmarks.grown import write_grown
    from serving.catalogue import load_catalogue
    from serving.release_file import store_path

    write_grown(load_catalogue(store_path(home, tag)), creators, folder)


def write_big(home: Path, tag: str, market: Path, folder: Path) -> None:
    """The artefact of the shipped model with larger trees on the path to a conversion, taught noise.

    Thresholds and missing values are those of the market's features; which features, those that the shipped trees ask
    most often.
    """
    from serving.model import load_model, save_model
    from serving.release_file import store_path

    model = load_model(store_path(home, tag))
    path = [stage for stage in model.path_to("conversion") if stage.trees]
    x = _noisy_features(path, market)
    ensembles = sum(len(stage.trees) for stage in path)
    sizes = [TREES // ensembles + (place < TREES % ensembles) for place in range(ensembles)]
    bigger = {}
    for stage in path:
        trees = tuple(replace(one, text=noise_trees(x, sizes.pop(), seed=len(sizes))) for one in stage.trees)
        bigger[stage.quantity] = replace(stage, trees=trees)
    save_model(replace(model, stages={**model.stages, **bigger}).with_version(BIG), folder)


def _noisy_features(path, market: Path):
    """Features of the market's placements, but constant where the big model is not to read them."""
    import numpy as np

    from features.settings import Settings
    from serving.forest import parse_trees
    from training.dataset import build_dataset
    from training.source import load

    x = build_dataset(load(market, Settings(), None).market).x.copy()
    asked = Counter(
        int(feature)
        for stage in path
        for trees in stage.trees
        for tree in parse_trees(trees.text)
        for feature in tree.feature
    )
    read = [feature for feature, _ in asked.most_common(READ)]
    x[:, np.setdiff1d(np.arange(x.shape[1]), read)] = 0.0
    return x


def noise_trees(x, trees: int, seed: int) -> str:
    """LightGBM's text of an ensemble that was taught noise."""
    import lightgbm as lgb
    import numpy as np

    noise = np.random.default_rng(seed).standard_normal(len(x))
    settings = {"num_leaves": LEAVES, "learning_rate": 0.05, "num_threads": 1, "verbosity": -1, "seed": seed}
    return lgb.train(settings, lgb.Dataset(x, label=noise), num_boost_round=trees).model_to_string()
