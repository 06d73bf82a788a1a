"""The one loop of features/ that numpy is too slow for where a million creators are matched with one brief.

It is compiled when this module is imported, which `features.encoding` does when there is that much to sum.
"""

from typing import Any

import numpy as np
from numba import njit, types
from numpy.typing import NDArray


def _read(dtype: types.Type) -> types.Array:
    return types.Array(dtype, 1, "C", readonly=True)  # mapped arrays are; one that could be written is taken as well


@njit(
    types.float64[:](_read(types.int64), _read(types.int64), _read(types.float64), _read(types.float64)),
    nogil=True,
    error_model="numpy",
    boundscheck=False,
)
def weighted_sums(
    offsets: NDArray[np.int64], codes: NDArray[np.int64], weights: NDArray[np.float64], table: NDArray[np.float64]
) -> Any:
    """Sum of entry weight x table[code] of each row, in the order of its entries; NaN for a row without; shape (n,)."""
    out = np.empty(len(offsets) - 1)
    for row in range(len(out)):
        first, last = offsets[row], offsets[row + 1]
        total = 0.0 if last > first else np.nan
        for entry in range(first, last):
            total += weights[entry] * table[codes[entry]]
        out[row] = total
    return out
