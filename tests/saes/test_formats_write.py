"""Our SAEs in other formats: read back they serve the same; nothing is replaced unasked or written by halves."""

import json
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_saes import OURS, ours
from safetensors.torch import load_file
from typer.testing import CliRunner

from saebench.cli import app, main
from saebench.saes import SAE, BatchTopK, FeatureChoice, JumpReLU, MutualChoice, TopK, formats

WRITTEN = [name for name, known in formats.FORMATS.items() if known.contents]


def expressible(name: str, format: str, normalise: str) -> bool:
    if format == "sparsify":
        return name in ("topk", "multi-topk", "archetypal") and normalise == "none"
    return format != "dictionary_learning" or normalise == "none"


@pytest.mark.parametrize("format", WRITTEN)
@pytest.mark.parametrize("name", OURS)
@settings(max_examples=8, deadline=None)
@given(
    normalise=st.sampled_from(["none", "layer_norm"]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.float64]),
    d_in=st.integers(2, 9),
    n_latents=st.integers(21, 40),
    seed=st.integers(0, 10**6),
    unit=st.booleans(),
)
def test_round_trip(tmp_path_factory, name, format, normalise, dtype, d_in, n_latents, seed, unit):
    sae = ours(OURS[name], normalise, seed, unit, d_in=d_in, n_latents=n_latents).to(dtype)
    folder = tmp_path_factory.mktemp("sae")
    if not expressible(name, format, normalise):
        with pytest.raises(ValueError, match="write it as saelens"):
            formats.save(sae, folder / "out", format)
        assert not (folder / "out").exists()
        return
    formats.save(sae, folder, format)
    assert formats.detect(folder) == format
    back = formats.load(folder)
    assert not back.training
    assert back.W_enc.dtype == dtype
    x = torch.randn(20, d_in, generator=torch.Generator().manual_seed(seed)) + 0.5
    with torch.no_grad():
        close = {"rtol": 1e-5, "atol": 1e-5}
        torch.testing.assert_close(back.encode(x).to_dense(), sae.encode(x).to_dense(), check_dtype=False, **close)
        slack = close if dtype.itemsize > 2 else {"rtol": 2e-2, "atol": 2e-2}  # they decode in these 16 bits
        torch.testing.assert_close(back(x), sae(x), **slack)


@pytest.mark.parametrize("format", WRITTEN)
def test_same_sae_same_bytes(tmp_path, format):
    sae = ours(TopK(5))
    for name in ("a", "b"):
        formats.save(sae, tmp_path / name, format)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_rules_that_other_libraries_keep(tmp_path):
    for rule in (TopK(5), BatchTopK(5), OURS["matryoshka"]):
        formats.save(ours(rule), tmp_path / rule.name, "dictionary_learning")
        assert formats.load(tmp_path / rule.name).rule == rule
    formats.save(ours(TopK(5, multi_k=20)), tmp_path / "multi", "sparsify")
    assert formats.load(tmp_path / "multi").rule == TopK(5, multi_k=20)
    formats.save(ours(TopK(5, multi_k=21)), tmp_path / "other", "sparsify")
    assert formats.load(tmp_path / "other").rule == TopK(5)


def test_latents_that_never_fire_get_infinite_thresholds(tmp_path):
    sae = ours(OURS["feature_choice"])
    formats.save(sae, tmp_path, "saelens")
    threshold = load_file(tmp_path / "sae_weights.safetensors")["threshold"]
    assert threshold.dtype == torch.float32
    assert torch.equal(threshold.isinf(), sae.thresholds.isnan())
    assert isinstance(formats.load(tmp_path).rule, JumpReLU)


@pytest.mark.parametrize("rule", [BatchTopK(5), MutualChoice(5), FeatureChoice(5)])
def test_no_threshold_no_export(tmp_path, rule):
    sae = SAE.create(8, 40, rule)
    for format in ("saelens", "dictionary_learning"):
        with pytest.raises(ValueError, match=f"this {rule.name} SAE has no inference threshold yet"):
            formats.save(sae, tmp_path / "out", format)
    assert not (tmp_path / "out").exists()


def test_thresholds_stay_exact_beside_16_bits(tmp_path):
    """SAELens casts every tensor to the config's dtype: it must be one that keeps thresholds."""
    formats.save(ours(JumpReLU()).bfloat16(), tmp_path, "saelens")
    tensors = load_file(tmp_path / "sae_weights.safetensors")
    assert (tensors["W_enc"].dtype, tensors["threshold"].dtype) == (torch.bfloat16, torch.float32)
    assert json.loads((tmp_path / "cfg.json").read_text())["dtype"] == "float32"


@pytest.mark.parametrize("format", ["openai", "openmoss"])
def test_formats_only_read(tmp_path, format):
    with pytest.raises(ValueError, match="checkpoints but writes none; write it as saelens"):
        formats.save(ours(TopK(5)), tmp_path, format)


@pytest.mark.parametrize("format", WRITTEN)
def test_nothing_is_replaced_unasked(tmp_path, format):
    formats.save(ours(TopK(5)), tmp_path, format)
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()}
    formats.save(ours(TopK(5)), tmp_path, format)  # the same: nothing to do
    with pytest.raises(ValueError, match=r"already holds another .*; remove it or choose another folder"):
        formats.save(ours(TopK(5), seed=1), tmp_path, format)
    assert before == {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()}
    formats.save(ours(TopK(5), seed=1), tmp_path, format, replace=True)
    assert torch.equal(formats.load(tmp_path).W_enc, ours(TopK(5), seed=1).W_enc)


@pytest.mark.parametrize("format", WRITTEN)
def test_one_checkpoint_in_a_folder(tmp_path, format):
    formats.save(ours(TopK(5)), tmp_path, format)
    for other in WRITTEN:
        if other != format:
            with pytest.raises(ValueError, match=f"already holds a checkpoint of {format}; choose another folder"):
                formats.save(ours(TopK(5)), tmp_path, other, replace=True)
    assert formats.detect(tmp_path) == format


def test_a_failed_write_leaves_no_file_by_halves(tmp_path, monkeypatch):
    formats.save(ours(TopK(5)), tmp_path, "saelens")
    before = (tmp_path / "sae_weights.safetensors").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        formats.save(ours(TopK(5), seed=1), tmp_path, "saelens", replace=True)
    assert (tmp_path / "sae_weights.safetensors").read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cfg.json", "sae_weights.safetensors"]


def test_convert_in_both_directions(tmp_path):
    sae = ours(TopK(5))
    sae.save(tmp_path / "own")
    way = ["own", "saelens", "sparsify", "dictionary_learning", "saebench"]
    for source, target in pairwise(way):
        done = CliRunner().invoke(app, ["convert", str(tmp_path / source), str(tmp_path / target), "--to", target])
        assert done.exit_code == 0, done.output
        [line] = done.output.splitlines()
        said = source.replace("own", "saebench")
        assert line.startswith(f"converted {tmp_path / source} ({said}: topk, 96 latents of 24 dimensions, float32) to")
    back = SAE.load(tmp_path / "saebench")
    assert back.rule == sae.rule
    assert all(torch.equal(a, b) for a, b in zip(back.parameters(), sae.parameters(), strict=True))


def test_convert_fails_in_one_line(tmp_path, monkeypatch, capsys):
    ours(OURS["gated"]).save(tmp_path / "gated")
    ours(TopK(5)).save(tmp_path / "topk")
    (tmp_path / "file").write_text("")
    for arguments, says in (
        (["gated", "out", "--to", "sparsify"], "sparsify knows TopK only, this SAE is gated; write it as saelens"),
        (["gated", "out", "--to", "gguf"], "unknown format 'gguf'; there are saebench, saelens"),
        (["gated", "out", "--to", "saelens", "--from", "gguf"], "unknown format 'gguf'"),
        (["nowhere", "out", "--to", "saelens"], "no such file or folder"),
        (["gated", "topk", "--to", "saebench"], "already holds another config.json and sae.safetensors"),
        (["gated", "file", "--to", "saelens"], "file"),
    ):
        monkeypatch.setattr(
            "sys.argv", ["saebench", "convert", *(str(tmp_path / a) for a in arguments[:2]), *arguments[2:]]
        )
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 1
        [line] = capsys.readouterr().err.splitlines()
        assert says in line
    assert not (tmp_path / "out").exists()
