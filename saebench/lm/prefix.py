"""Keys and values of a beginning that several texts share, so that it is read once.

transformers keeps the keys and values of a layer in one of several forms; only those of plain attention over everything
before can be cut at any token. Models with others (sliding windows, recurrent states) read every text whole.
"""

from typing import Any

from jaxtyping import Int
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer


def can_be_cut(cache: Any) -> bool:
    """Whether what a pass has kept can be cut at any token."""
    return type(cache) is DynamicCache and all(type(layer) is DynamicLayer for layer in cache.layers)


def cut(cache: DynamicCache, rows: Int[Tensor, " some"], length: int) -> DynamicCache:
    """The first `length` tokens of some rows of a cache, as a cache of its own, without gradients."""
    layers: Any = cache.layers
    sides = ((layer.keys.detach(), layer.values.detach()) for layer in layers)
    return DynamicCache([(keys[rows, :, :length], values[rows, :, :length]) for keys, values in sides])
