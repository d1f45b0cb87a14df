"""dictionary_learning: every class, both ways, through `load_dictionary` and the state dicts its trainers save."""

import json

import pytest
import torch
from dictionary_learning.dictionary import AutoEncoder, AutoEncoderNew, GatedAutoEncoder, JumpReluAutoEncoder
from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
from dictionary_learning.trainers.top_k import AutoEncoderTopK
from dictionary_learning.utils import load_dictionary
from random_saes import OURS, D, M, ours, shake

from saebench.saes import Matryoshka, formats

THEIRS = {
    "AutoEncoder": AutoEncoder,
    "AutoEncoderNew": AutoEncoderNew,
    "GatedAutoEncoder": GatedAutoEncoder,
    "JumpReluAutoEncoder": JumpReluAutoEncoder,
    "AutoEncoderTopK": lambda d, m: AutoEncoderTopK(d, m, k=5),
    "BatchTopKSAE": lambda d, m: BatchTopKSAE(d, m, k=5),
    "MatryoshkaBatchTopKSAE": lambda d, m: MatryoshkaBatchTopKSAE(d, m, k=5, group_sizes=[24, 24, 48]),
}


def keep(theirs: torch.nn.Module, kind: str, folder) -> None:
    """What their `trainSAE` writes."""
    trainer = {"dict_class": kind, "activation_dim": D, "dict_size": M, "lm_name": "model", "layer": 1}
    trainer |= {"k": 5} if hasattr(theirs, "k") else {}
    (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {"ctx_len": 128}}, indent=4))
    torch.save(theirs.state_dict(), folder / "ae.pt")


def made(kind: str) -> torch.nn.Module:
    """One of their dictionaries with random weights."""
    theirs = THEIRS[kind](D, M)
    shake(theirs)
    if kind in ("BatchTopKSAE", "MatryoshkaBatchTopKSAE"):
        theirs.threshold.fill_(0.4)
    return theirs


@pytest.mark.parametrize("kind", THEIRS)
def test_theirs_in_ours(tmp_path, x, agree, kind):
    keep(made(kind), kind, tmp_path)
    theirs, _ = load_dictionary(str(tmp_path), "cpu")
    sae = formats.load(tmp_path)
    with torch.no_grad():
        codes = theirs.encode(x)
        agree("dictionary_learning", kind, "theirs → ours", sae, codes, theirs.decode(codes))


def test_prefixes(tmp_path):
    keep(made("MatryoshkaBatchTopKSAE"), "MatryoshkaBatchTopKSAE", tmp_path)
    assert formats.load(tmp_path).rule == Matryoshka(5, prefixes=(0.25, 0.5, 1.0))


@pytest.mark.parametrize("kind", ["BatchTopKSAE", "MatryoshkaBatchTopKSAE"])
def test_a_threshold_never_estimated(tmp_path, x, kind):
    theirs = made(kind)
    theirs.threshold.fill_(-1)
    keep(theirs, kind, tmp_path)
    with pytest.warns(UserWarning, match="never estimated"):
        sae = formats.load(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(sae.encode(x).to_dense(), theirs.encode(x), rtol=1e-5, atol=1e-5)


def test_a_checkpoint_of_a_run(tmp_path, x):
    theirs = made("AutoEncoderTopK")
    keep(theirs, "AutoEncoderTopK", tmp_path)
    (tmp_path / "checkpoints").mkdir()
    torch.save(theirs.state_dict(), tmp_path / "checkpoints" / "ae_100.pt")
    sae = formats.load(tmp_path / "checkpoints" / "ae_100.pt")
    with torch.no_grad():
        torch.testing.assert_close(sae(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("name", OURS)
def test_ours_in_theirs(tmp_path, x, agree, name, unit):
    sae = ours(OURS[name], unit=unit)
    formats.save(sae, tmp_path, "dictionary_learning")
    theirs, _ = load_dictionary(str(tmp_path), "cpu")
    variant = f"{name}, {type(theirs).__name__}{', unit rows' if unit else ''}"
    with torch.no_grad():
        codes = theirs.encode(x)
        agree("dictionary_learning", variant, "ours → theirs", sae, codes, theirs.decode(codes))
        agree("dictionary_learning", variant, "→ theirs → ours", formats.load(tmp_path), codes, theirs.decode(codes))
