"""Activations as half-float bits in a SMALLINT: positive halves sort as integers, so the store never widens them."""

import numpy as np
from numpy.typing import NDArray

LARGEST = float(np.finfo(np.float16).max)
"""65504, the largest activation that can be stored."""


def to_bits(values: NDArray[np.float32]) -> NDArray[np.int16]:
    """The bits of the nearest half; 0 for values too small for one (below 3e-8)."""
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(np.float16).view(np.int16)


def to_float(bits: NDArray[np.int16]) -> NDArray[np.float32]:
    """The exact value of half-float bits."""
    return np.ascontiguousarray(bits, dtype=np.int16).view(np.float16).astype(np.float32)
