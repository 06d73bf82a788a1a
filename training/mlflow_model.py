"""The model as MLflow loads it: a script that MLflow runs ("models from code"), so nothing is pickled.

Input: the feature columns in order. Output: the expected quantities of each row.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd

from features.matrix import NAMES
from serving.model import load_model


class FunnelModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc] # mlflow is not typed here
    """The funnel behind MLflow's generic interface."""

    def load_context(self, context: Any) -> None:
        """Read the artefact that was logged with the model."""
        self._model = load_model(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Expected quantities, a column each."""
        # a frame's array lies column by column, in which order float32 sums come out another way than when serving
        x = np.ascontiguousarray(model_input[list(NAMES)].to_numpy(dtype=np.float32))
        expected = self._model.expected(x)
        return pd.DataFrame({name: values for name, values in expected.items() if name != "one"})


mlflow.models.set_model(FunnelModel())
