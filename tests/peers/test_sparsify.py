"""sparsify: TopK and Multi-TopK, both ways, through `SparseCoder.load_from_disk` and `save_to_disk`."""

import pytest
import torch
from random_saes import OURS, D, M, ours, shake
from sparsify import SparseCoder, SparseCoderConfig

from saebench.saes import TopK, formats


def peer(theirs: SparseCoder, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Their codes, dense, and reconstruction."""
    top = theirs.encode(x)
    codes = torch.zeros(len(x), M, dtype=top.top_acts.dtype).scatter_(1, top.top_indices, top.top_acts)
    return codes, theirs.decode(top.top_acts, top.top_indices)


@pytest.mark.parametrize("name", ["topk", "multi-topk", "archetypal"])
def test_ours_in_theirs(tmp_path, x, agree, name):
    sae = ours(OURS[name])
    formats.save(sae, tmp_path, "sparsify")
    theirs = SparseCoder.load_from_disk(tmp_path)
    assert theirs.cfg.multi_topk == (name == "multi-topk")
    with torch.no_grad():
        agree("sparsify", name, "ours → theirs", sae, *peer(theirs, x))
        agree("sparsify", name, "→ theirs → ours", formats.load(tmp_path), *peer(theirs, x))


@pytest.mark.parametrize(
    "settings", [{"num_latents": M}, {"expansion_factor": 4}, {"num_latents": M, "multi_topk": True}]
)
def test_theirs_in_ours(tmp_path, x, agree, settings):
    theirs = SparseCoder(D, SparseCoderConfig(k=5, **settings))
    shake(theirs)
    theirs.save_to_disk(tmp_path)
    sae = formats.load(tmp_path)
    assert sae.rule == TopK(5, multi_k=20 if "multi_topk" in settings else None)
    with torch.no_grad():
        agree("sparsify", f"topk, {', '.join(settings)}", "theirs → ours", sae, *peer(theirs, x))


def test_half_precision(tmp_path):
    theirs = SparseCoder(D, SparseCoderConfig(k=5, num_latents=M), dtype=torch.bfloat16)
    theirs.save_to_disk(tmp_path)
    sae = formats.load(tmp_path)
    assert {tensor.dtype for tensor in sae.parameters()} == {torch.bfloat16}
    formats.save(sae, tmp_path / "again", "sparsify")
    assert SparseCoder.load_from_disk(tmp_path / "again").dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"activation": "groupmax"}, "activation"),
        ({"transcode": True}, "transcode"),
        ({"skip_connection": True}, "skip"),
    ],
)
def test_without_counterpart(tmp_path, settings, key):
    SparseCoder(D, SparseCoderConfig(k=6, num_latents=M, **settings)).save_to_disk(tmp_path)
    with pytest.raises(ValueError, match=key):
        formats.load(tmp_path)
