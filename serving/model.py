"""The model: a funnel of stages from delivery to revenue, and the artefact it is kept in.

An artefact is a folder: `model.json` (stages, scaler, feature list and hash, intervals, value basis, card) and one
LightGBM text file an ensemble. Nothing is pickled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from lightgbm.basic import LightGBMError

from features.errors import DataError
from features.matrix import NAMES, schema_hash
from features.profile import PRICE_SOURCES
from features.settings import Settings
from features.value import ValueBasis
from serving.artefact import digest, read_json, write_json
from serving.interval import Interval
from serving.price import PriceLine, settle
from serving.promise import Promise
from serving.stage import Floats, Matrix, Scaler, Stage
from serving.together import Together

FORMAT = 6
# order in which quantities are predicted, and what each may be a rate of, best first
CHAIN: dict[str, tuple[str, ...]] = {
    "delivery": ("one",),
    "impressions": ("delivery",),
    "engagements": ("impressions", "delivery"),
    "clicks": ("impressions", "delivery"),
    "conversions": ("clicks", "impressions", "delivery"),
    "net_revenue": ("conversions", "clicks", "impressions", "delivery"),
    "value": ("one",),
}
NEEDS = {
    "awareness": ("impressions",),
    "engagement": ("engagements",),
    "conversion": ("net_revenue",),
    "launch": ("impressions", "net_revenue"),
    "local": ("net_revenue",),
}


@dataclass(frozen=True)
class ExtraCost:
    """Product and other cost to expect beside a fee: level x (fee / typical fee) ^ elasticity.

    Gifts and handling grow with the fee, but less than in proportion; a constant would make small creators look dear.

    >>> ExtraCost(10.0, 100.0, 0.5).at(np.array([100.0, 400.0, 0.0])).tolist()
    [10.0, 20.0, 0.0]
    """

    level: float
    typical_fee: float
    elasticity: float

    def at(self, fee: Floats) -> Floats:
        """Extra cost of each fee, NaN where the fee is; shape (n,)."""
        return np.asarray(self.level * (fee / self.typical_fee) ** self.elasticity)


@dataclass(frozen=True)
class Model:
    """A fitted funnel.

    Attributes:
        stages: by quantity; a quantity the data could not teach is absent.
        levels: factor by quantity that brings the product of stages to the level of the data.
        fee: stage for the fee of creators without a known price, or None.
        typical_fee: median past fee, used where there is no fee stage; None where no fee is known at all.
        price_lines: what becomes of a price, by its source; empty where prices are what is paid.
        extra_cost: product and other cost of a placement by its fee, base currency.
        commission_rate: fee as a share of net revenue where the data pay commission only, wherever booked; else None.
        overridden_goals: goals whose past value was given by the data instead of the formula.
        promise: how much of a high expected return is promised.
        intervals: by goal; `any` pools all goals.
        card: the model card.
        together: what placements of one campaign share.
        digest: of the artefact it was loaded from; empty where it was not.
    """

    version: str
    settings: Settings
    basis: ValueBasis
    scaler: Scaler
    stages: Mapping[str, Stage]
    levels: Mapping[str, float]
    fee: Stage | None
    typical_fee: float | None
    price_lines: Mapping[str, PriceLine]
    extra_cost: ExtraCost
    commission_rate: float | None
    overridden_goals: tuple[str, ...]
    promise: Promise
    intervals: Mapping[str, Interval]
    card: Mapping[str, Any]
    together: Together = field(default_factory=Together)
    digest: str = ""

    def expected(self, x: Matrix) -> dict[str, Floats]:
        """Expected quantities of a placement agreed today (delivery risk included), shape (n,) each."""
        design = self.scaler.design(x)
        return self.quantities({name: stage.log_rate(x, design) for name, stage in self.stages.items()}, len(x))

    def quantities(self, log_rates: Mapping[str, Floats], n: int) -> dict[str, Floats]:
        """Expected quantities of n placements from the log rates of stages, shape (n,) each.

        Args:
            log_rates: by quantity; those of the stages that a stage builds on are among them.
            n: number of placements.
        """
        expected: dict[str, Floats] = {"one": np.ones(n)}
        raw: dict[str, Floats] = {"one": np.ones(n)}
        for quantity in CHAIN:
            if quantity not in log_rates:
                continue
            raw[quantity] = np.exp(log_rates[quantity]) * raw[self.stages[quantity].exposure]
            if quantity == "delivery":
                raw[quantity] = np.minimum(raw[quantity], 1.0)
            expected[quantity] = raw[quantity] * self.levels.get(quantity, 1.0)
        return expected

    def peer_fee(self, x: Matrix) -> Floats | None:
        """Fee of alike creators, whatever the own price; shape (n,); None where the data hold no fee."""
        if self.fee is not None:
            return np.exp(self.fee.log_rate(x, self.scaler.design(x)))
        return None if self.typical_fee is None else np.full(len(x), self.typical_fee)

    def needs_peers(self, price: Floats) -> bool:
        """Whether the fee of alike creators says something about these prices."""
        return bool(self.price_lines) or bool(np.isnan(price).any())

    def expected_fee(self, price: Floats, source: Floats, peers: Floats | None) -> tuple[Floats, Floats]:
        """Fee to expect and the spread of its log, shape (n,) each.

        Args:
            price: known beforehand, NaN where none is; shape (n,).
            source: of the price, a code into PRICE_SOURCES.
            peers: fee of alike creators, from `peer_fee`; None where there is none or it is not needed.
        """
        fee, spread = np.array(price), np.zeros(len(price))
        for code, name in enumerate(PRICE_SOURCES):
            rows = np.flatnonzero((source == code) & ~np.isnan(price))
            fee[rows] = settle(self.price_lines, name, price[rows], None if peers is None else peers[rows])
            if name in self.price_lines:
                spread[rows] = self.price_lines[name].spread
        unknown = np.isnan(fee)
        if peers is not None:
            fee[unknown] = peers[unknown]
            spread[unknown] = 0.0 if self.fee is None else self.fee.spread
        return fee, spread

    def require(self, goal: str) -> None:
        """Refuse a goal that the training data could not teach.

        Raises:
            DataError: naming what the data lack.
        """
        if goal in self.overridden_goals:
            return
        self.basis.require(goal)
        lacking = [name for name in NEEDS[goal] if name not in self.stages]
        if lacking:
            raise DataError(
                f"goal {goal} needs {' and '.join(lacking)}, of which the training data held too little: "
                "train on placements with that outcome, or ask for another goal",
                field="goal",
            )

    def path_to(self, target: str) -> tuple[Stage, ...]:
        """The stages whose product is a quantity, or that of a goal (of a launch: its sales), for reasons."""
        quantity = "value" if target in self.overridden_goals else NEEDS.get(target, (target,))[-1]
        path: list[Stage] = []
        while quantity in self.stages:
            path.append(self.stages[quantity])
            quantity = self.stages[quantity].exposure
        return tuple(path)

    def with_version(self, version: str) -> "Model":
        """The same model under a registered version."""
        return replace(self, version=version, card={**self.card, "version": version}, digest="")


def save_model(model: Model, folder: Path) -> None:
    """Write the artefact into an existing, empty folder."""
    stages = {**model.stages, **({"fee": model.fee} if model.fee else {})}
    texts = {_file(name, k): trees.text for name, stage in stages.items() for k, trees in enumerate(stage.trees)}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    data = {
        "format": FORMAT,
        "version": model.version,
        "feature_names": list(NAMES),
        "feature_schema": schema_hash(),
        "settings": model.settings.model_dump(mode="json"),
        "basis": vars(model.basis),
        "scaler": {name: column.tolist() for name, column in vars(model.scaler).items()},
        "stages": {name: stage.to_json() for name, stage in stages.items()},
        "trees": {name: digest(text) for name, text in texts.items()},
        "levels": dict(model.levels),
        "typical_fee": model.typical_fee,
        "price_lines": {source: vars(line) for source, line in model.price_lines.items()},
        "extra_cost": vars(model.extra_cost),
        "commission_rate": model.commission_rate,
        "overridden_goals": list(model.overridden_goals),
        "promise": vars(model.promise),
        "together": vars(model.together),
        "intervals": {name: interval.to_json() for name, interval in model.intervals.items()},
        "card": dict(model.card),
    }
    write_json(folder, "model.json", data)


def load_model(folder: Path) -> Model:
    """Read an artefact.

    Raises:
        DataError: it is cut short, of another format, or was trained on another feature list.
    """
    try:
        data, found = read_json(folder, "model.json")
        _refuse_other_features(data)
        stages = {
            name: Stage.from_json(
                stage, [_trees(folder, _file(name, k), data["trees"]) for k in range(len(stage["weights"]))]
            )
            for name, stage in data["stages"].items()
        }
        if sum(len(stage.trees) for stage in stages.values()) != len(data["trees"]):
            raise ValueError("weights and ensembles do not agree")
        model = Model(
            version=data["version"],
            settings=Settings.model_validate(data["settings"]),
            basis=ValueBasis(**data["basis"]),
            scaler=Scaler(**{name: np.array(column) for name, column in data["scaler"].items()}),
            stages={name: stage for name, stage in stages.items() if name != "fee"},
            levels=data["levels"],
            fee=stages.get("fee"),
            typical_fee=data["typical_fee"],
            price_lines={source: PriceLine(**line) for source, line in data["price_lines"].items()},
            extra_cost=ExtraCost(**data["extra_cost"]),
            commission_rate=data["commission_rate"],
            overridden_goals=tuple(data["overridden_goals"]),
            promise=Promise(**data["promise"]),
            intervals={name: Interval.from_json(entry) for name, entry in data["intervals"].items()},
            card=data["card"],
            together=Together(**data["together"]),
            digest=found,
        )
        for stage in stages.values():
            for trees in stage.trees:
                _ = trees.booster, trees.shap  # parsed now, so that a broken file is refused here and not in a request
    except (OSError, ValueError, KeyError, TypeError, LightGBMError) as error:
        raise DataError(
            f"model in {folder.name} cannot be read ({type(error).__name__}: {error}): train again"
        ) from error
    return model


def _file(stage: str, ensemble: int) -> str:
    return f"{stage}.{ensemble}.txt"


def _trees(folder: Path, name: str, digests: Mapping[str, str]) -> str:
    """Tree text as it was saved: LightGBM ends the whole process on one cut short, so it must not see it."""
    text = (folder / name).read_text(encoding="utf-8")
    if digest(text) != digests[name]:
        raise ValueError(f"{name} is not the file that was saved")
    return text


def _refuse_other_features(data: Mapping[str, Any]) -> None:
    if data.get("format") != FORMAT:
        raise DataError(f"model format {data.get('format')} is not {FORMAT}: train again with this version")
    if data["feature_schema"] != schema_hash():
        model, code = set(data["feature_names"]), set(NAMES)
        raise DataError(
            f"model was trained on feature schema {data['feature_schema']}, this code computes {schema_hash()} "
            f"(only in the model: {sorted(model - code) or 'none'}; only in the code: "
            f"{sorted(code - model) or 'none'}): train again, or roll back the code"
        )
