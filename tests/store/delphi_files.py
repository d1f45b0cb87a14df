"""What delphi would have cached of the synthetic index."""

import itertools
from pathlib import Path

import numpy as np
import synthetic
from safetensors.numpy import save_file


def save_splits(folder: Path, data: synthetic.Synthetic, n_splits: int = 3, kind: type = np.uint16) -> Path:
    """Write every code in `n_splits` files, as `LatentCache.save_splits` of eai-delphi 0.1.3 does."""
    folder.mkdir(parents=True, exist_ok=True)
    places, features, values = data.codes
    tokens = data.block(0, data.n_contexts).tokens.astype(np.int64)
    edges = np.linspace(0, data.n_features, n_splits + 1).astype(int)
    for start, stop in itertools.pairwise(edges):
        own = (features >= start) & (features < stop) & (places < tokens.size)
        columns = (places[own] // synthetic.LENGTH, places[own] % synthetic.LENGTH, features[own] - start)
        arrays = {"locations": np.stack(columns, 1).astype(kind), "activations": values[own].astype(np.float16)}
        save_file({**arrays, "tokens": tokens}, folder / f"{start}_{stop - 1}.safetensors")
    return folder
