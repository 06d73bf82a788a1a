"""One stage of the funnel: a linear base on standardised features plus weighted LightGBM ensembles, all in logs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from serving import tree_shap
from serving.forest import parse_trees
from serving.tree_shap import ShapTrees, prepare

Floats = NDArray[np.float64]
Matrix = NDArray[np.float32]

MAX_LOG = 40.0
_ROWS = 8192  # rows whose design is held in double precision at a time


@dataclass(frozen=True)
class Scaler:
    """Centres and scales features; shape (f,) each. Missing values become 0 beside an indicator of their own.

    Values beyond `low` and `high`, the range seen in training, count as these: a linear base must not run away.
    """

    mean: Floats
    scale: Floats
    low: Floats
    high: Floats

    def design(self, x: Matrix) -> Matrix:
        """Standardised features and missing indicators side by side, shape (n, 2 f), finite.

        >>> one = Scaler(np.array([1.0]), np.array([2.0]), np.array([-9.0]), np.array([5.0]))
        >>> one.design(np.array([[3.0], [np.nan], [99.0]], dtype=np.float32)).tolist()
        [[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]]
        """
        missing = np.isnan(x)
        z = np.clip(x, self.low.astype(np.float32), self.high.astype(np.float32))
        z -= self.mean.astype(np.float32)
        z /= self.scale.astype(np.float32)
        z[missing] = 0.0
        return np.hstack([z, missing.astype(np.float32)])


@dataclass(frozen=True)
class Trees:
    """A LightGBM ensemble, as model text, and how much of it is added."""

    text: str
    weight: float

    @cached_property
    def booster(self) -> lgb.Booster:
        """The ensemble, parsed once."""
        return lgb.Booster(model_str=self.text)

    def contributions(self, x: Matrix) -> Floats:
        """What each feature adds to the sum of the trees relative to its mean in training, shape (n, f)."""
        if tree_shap.at_hand():
            return tree_shap.contributions(self.shap, x)
        return np.asarray(self.booster.predict(x, pred_contrib=True, num_threads=1))[:, : x.shape[1]]

    @cached_property
    def shap(self) -> ShapTrees:
        """The ensemble prepared for contributions, once."""
        return prepare(parse_trees(self.text))


@dataclass(frozen=True)
class Stage:
    """Expected `quantity` per unit of `exposure`.

    Attributes:
        quantity: what is predicted, such as `engagements`.
        exposure: the quantity it is a rate of, such as `impressions`; `one` for none.
        intercept, coef: linear base over the scaler's design, shape (2 f,).
        trees: ensembles added to it; none where the base alone did as well on later data.
        spread: standard deviation of the log residual, for stages whose noise is about log-normal.
        rows: rows it was trained on.
    """

    quantity: str
    exposure: str
    intercept: float
    coef: Floats
    trees: tuple[Trees, ...]
    spread: float
    rows: int

    def log_rate(self, x: Matrix, design: Matrix) -> Floats:
        """Log of the expected rate, shape (n,); of a row the same whatever rows stand beside it."""
        out = np.empty(len(x))
        for low in range(0, len(x), _ROWS):
            # not a product of matrices, which rounds by where in them a row stands
            block = design[low : low + _ROWS].astype(np.float64)
            out[low : low + _ROWS] = np.einsum("ij,j->i", block, self.coef)
        out += self.intercept
        for trees in self.trees:
            out += trees.weight * trees.booster.predict(x, raw_score=True, num_threads=1)
        return np.clip(out, -MAX_LOG, MAX_LOG)

    def log_contributions(self, x: Matrix, design: Matrix) -> Floats:
        """What each feature adds to the log rate relative to the average training row, shape (n, f).

        Linear part: coefficient x standardised value (and its indicator); trees: TreeSHAP (Lundberg et al. 2020).
        """
        f = x.shape[1]
        linear = design * self.coef
        out = linear[:, :f] + linear[:, f:]
        for trees in self.trees:
            out += trees.weight * trees.contributions(x)
        return np.asarray(out, dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """Everything but the text of the trees."""
        return {
            "quantity": self.quantity, "exposure": self.exposure, "intercept": self.intercept,
            "coef": self.coef.tolist(), "weights": [trees.weight for trees in self.trees], "spread": self.spread,
            "rows": self.rows,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any], texts: Sequence[str]) -> "Stage":
        """The inverse of `to_json`, with the texts of the trees beside it."""
        rest = {name: value for name, value in data.items() if name != "weights"}
        trees = tuple(Trees(text, weight) for text, weight in zip(texts, data["weights"], strict=True))
        return cls(**{**rest, "coef": np.array(data["coef"]), "trees": trees})
