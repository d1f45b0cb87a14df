"""Maps are kept whole, and only shown for the weights that they were drawn from."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from store import Map, StoreError, find_map, write_map

SAE = "an.sae"


def weights(workspace: Path, seed: int) -> None:
    folder = workspace / "saes" / SAE
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"W_dec": np.random.default_rng(seed).normal(size=(7, 3)).astype(np.float32)}, folder / "sae.safetensors")


def test_a_map_comes_back_until_the_weights_change(tmp_path: Path):
    weights(tmp_path, 0)
    assert find_map(tmp_path, SAE) is None
    points = np.random.default_rng(1).normal(size=(7, 2)).astype(np.float32)
    path = write_map(tmp_path, SAE, Map(points, {"seed": 3}))
    found = find_map(tmp_path, SAE)
    assert found is not None
    assert np.array_equal(found.points, points)
    assert found.provenance == {"seed": 3}
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    weights(tmp_path, 1)
    assert find_map(tmp_path, SAE) is None
    weights(tmp_path, 0)
    assert find_map(tmp_path, SAE) is not None


def test_what_is_no_map_is_one_line(tmp_path: Path):
    with pytest.raises(StoreError, match="there is no such file"):
        find_map(tmp_path, SAE)
    weights(tmp_path, 0)
    path = write_map(tmp_path, SAE, Map(np.zeros((7, 2), np.float32), {}))
    for content in (b"x" * 200, b""):
        path.write_bytes(content)
        with pytest.raises(StoreError, match=r"cannot read .*parquet") as raised:
            find_map(tmp_path, SAE)
        assert "\n" not in str(raised.value)
