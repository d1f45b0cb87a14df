"""SAEs on disk: what is written is read again, and what is damaged is refused by name."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from saebench.saes import SAE, TopK


@pytest.fixture
def saved(tmp_path):
    sae = SAE.create(6, 20, TopK(3, k_aux=4, dead_after=77), seed=2)
    sae.save(tmp_path)
    return tmp_path, sae


def test_round_trip(saved):
    folder, sae = saved
    back = SAE.load(folder)
    assert back.rule == sae.rule
    assert all(torch.equal(a, b) for a, b in zip(back.parameters(), sae.parameters(), strict=True))
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "sae.safetensors"]


def test_same_weights_same_bytes(saved, tmp_path):
    folder, sae = saved
    for _ in range(5):
        sae.save(tmp_path / "again")
        for name in ("config.json", "sae.safetensors"):
            assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_dtype_survives(tmp_path):
    SAE.create(6, 20, TopK(3)).bfloat16().save(tmp_path)
    assert SAE.load(tmp_path).W_enc.dtype == torch.bfloat16


def test_every_truncation_is_refused(saved):
    folder, _ = saved
    whole = (folder / "sae.safetensors").read_bytes()
    for length in (0, 4, 8, 100, len(whole) - 1):
        (folder / "sae.safetensors").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"sae\.safetensors: not a whole safetensors file"):
            SAE.load(folder)


def test_missing_and_foreign_files_are_refused(saved):
    folder, _ = saved
    with pytest.raises(ValueError, match="no such file"):
        SAE.load(folder / "elsewhere")
    config = folder / "config.json"
    good = json.loads(config.read_text())
    for bad, message in (
        ("{", "not a readable SAE config"),
        ("[]", "not the config of a saebench SAE"),
        (json.dumps(good | {"format": "other"}), "not the config of a saebench SAE"),
        (json.dumps(good | {"version": 99}), "version 99"),
        (json.dumps(good | {"rule": {"name": "magic"}}), "unknown rule 'magic'"),
        (json.dumps(good | {"rule": None}), "unknown rule None"),
        (json.dumps(good | {"n_latents": 21}), "belong to different SAEs"),
    ):
        config.write_text(bad)
        with pytest.raises(ValueError, match=message):
            SAE.load(folder)
    config.unlink()
    with pytest.raises(ValueError, match="not a readable SAE config"):
        SAE.load(folder)


def test_mismatched_tensors_are_refused(saved):
    folder, _ = saved
    path = folder / "sae.safetensors"
    tensors = load_file(path)
    save_file({k: v for k, v in tensors.items() if k != "b_enc"} | {"extra": torch.ones(1)}, path)
    with pytest.raises(ValueError, match=r"missing tensors \['b_enc'\], unknown tensors \['extra'\]"):
        SAE.load(folder)
    save_file(tensors | {"b_enc": torch.ones(19)}, path)
    with pytest.raises(ValueError, match="b_enc has shape"):
        SAE.load(folder)


def test_pickles_are_never_read(saved):
    folder, sae = saved
    torch.save(sae.state_dict(), folder / "sae.safetensors")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        SAE.load(folder)


def test_a_failed_save_leaves_what_was_there(saved):
    folder, sae = saved
    before = (folder / "sae.safetensors").read_bytes()
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    with pytest.raises(OSError, match=r"config\.json"):
        sae.save(folder)
    assert (folder / "sae.safetensors").read_bytes() == before
    assert not list(folder.glob(".*.tmp"))
