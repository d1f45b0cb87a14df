"""Shards hold what the model computes, in any order of kills, and damage is told."""

import gc
import hashlib
import itertools
import resource
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from saebench.config import CorpusConfig, HarvestConfig
from saebench.corpus import open_corpus
from saebench.errors import UserError
from saebench.harvest import Manifest, ShardSource, StreamSource, harvest

HOOKS = ["blocks.1.hook_resid_post", "blocks.0.attn.hook_z"]


@pytest.fixture
def corpus(tiny_lm, texts):
    return open_corpus(CorpusConfig(name=str(texts)), tiny_lm.tokenizer, tiny_lm.context_length)


def settings(**changes) -> HarvestConfig:
    return HarvestConfig(
        **{"hook_points": HOOKS, "precision": "float32", "batch_contexts": 5, "shard_batches": 3} | changes
    )


def fingerprint(folder) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


class StopError(Exception):
    pass


def stop_after(contexts):
    def progress(done):
        if done >= contexts:
            raise StopError

    return progress


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_shards_hold_the_models_activations(tiny_lm, corpus, tmp_path, precision):
    manifest = harvest(settings(precision=precision), tiny_lm, corpus, tmp_path / "h")
    tokens = np.concatenate([block.tokens for block in corpus.blocks(100)])
    assert manifest.complete
    assert manifest.n_contexts == len(tokens)
    for hook in HOOKS:
        raw = b"".join((tmp_path / "h" / f"{hook}.{n:05d}.bin").read_bytes() for n in range(len(manifest.shards)))
        stored = torch.frombuffer(bytearray(raw), dtype=getattr(torch, precision)).view(*tokens.shape, 32)
        expected = tiny_lm.activations(torch.from_numpy(tokens).long(), [hook])[hook]
        tolerance = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2}[precision]
        torch.testing.assert_close(stored.float(), expected, rtol=tolerance, atol=tolerance)


def test_every_row_leads_back_to_its_source(tiny_lm, corpus, texts, tmp_path):
    manifest = harvest(settings(), tiny_lm, corpus, tmp_path / "h")
    rebuilt: dict[int, bytes] = {}
    for number in range(len(manifest.shards)):
        for row in pq.read_table(tmp_path / "h" / f"contexts.{number:05d}.parquet").to_pylist():
            ends = [segment["token"] for segment in row["segments"][1:]] + [len(row["tokens"])]
            for segment, end in zip(row["segments"], ends, strict=True):
                piece = row["source"][row["bounds"][segment["token"]] : row["bounds"][end]]
                document = rebuilt.setdefault(segment["document"], b"")
                assert len(document) == segment["byte"]
                rebuilt[segment["document"]] = document + piece
    for number, (name, size, sha256) in enumerate(corpus.documents):
        source = (texts / name).read_bytes()
        assert rebuilt.get(number, b"") == source
        assert (size, sha256) == (len(source), hashlib.sha256(source).hexdigest())


@pytest.mark.parametrize("stop", [1, 15, 20])
def test_an_interrupted_harvest_ends_with_the_same_bytes(tiny_lm, corpus, tmp_path, stop):
    harvest(settings(), tiny_lm, corpus, tmp_path / "whole")
    with pytest.raises(StopError):
        harvest(settings(), tiny_lm, corpus, tmp_path / "part", stop_after(stop))
    whole, part = tmp_path / "whole", tmp_path / "part"
    harvest(settings(), tiny_lm, corpus, part)
    manifest = Manifest.read(part)
    manifest.id = "whole"
    manifest.write(part)
    assert fingerprint(part) == fingerprint(whole)


def test_a_finished_harvest_is_not_run_again(tiny_lm, corpus, tmp_path):
    harvest(settings(), tiny_lm, corpus, tmp_path / "h")
    before = fingerprint(tmp_path / "h")
    harvest(settings(), tiny_lm, corpus, tmp_path / "h", stop_after(0))
    assert fingerprint(tmp_path / "h") == before


def test_blocks_are_the_unspecial_rows_shuffled_by_epoch(tiny_lm, corpus, tmp_path):
    harvest(settings(), tiny_lm, corpus, tmp_path / "h")
    source = ShardSource(tmp_path / "h", HOOKS[0], block_rows=50, seed=3)
    per_epoch = sum(-(-shard.contexts * 32 // 50) for shard in source.manifest.shards)
    blocks = list(itertools.islice(source.blocks(), 2 * per_epoch))
    expected = torch.cat(
        [
            tiny_lm.activations(torch.from_numpy(block.tokens).long(), HOOKS)[HOOKS[0]][
                torch.from_numpy(~block.special)
            ]
            for block in corpus.blocks(100)
        ]
    )
    first, second = torch.cat(blocks[:per_epoch]), torch.cat(blocks[per_epoch:])
    for epoch in (first, second):
        assert len(epoch) == len(expected)
        order = torch.cdist(epoch, expected).argmin(1)
        torch.testing.assert_close(epoch, expected[order], rtol=1e-5, atol=1e-5)
    assert not torch.equal(first, second)
    for start in (1, per_epoch, per_epoch + 2):
        resumed = next(source.blocks(start))
        assert torch.equal(resumed, blocks[start])


def test_a_source_that_is_done_with_closes_its_files(tiny_lm, corpus, tmp_path):
    def open_files():
        links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        return sum(str(tmp_path) in str(link.readlink()) for link in links)

    harvest(settings(), tiny_lm, corpus, tmp_path / "h")
    source = ShardSource(tmp_path / "h", HOOKS[0])
    next(source.blocks())
    assert open_files() == 1
    del source
    gc.collect()
    assert open_files() == 0


def test_a_stream_equals_the_shards(tiny_lm, corpus, tmp_path):
    stream = StreamSource(tiny_lm, corpus, HOOKS[0], batch_contexts=4)
    assert stream.d_model == 32
    count = sum(1 for _ in corpus.blocks(4))
    blocks = list(itertools.islice(stream.blocks(), count + 2))
    assert torch.equal(blocks[count], blocks[0])
    for start in (0, 2, count + 1):
        assert torch.equal(next(stream.blocks(start)), blocks[start])


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[:-5])


def damage_flip(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    path.write_bytes(raw)


def damage_remove(path):
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "says"), [(damage_truncate, "truncated"), (damage_flip, "corrupt"), (damage_remove, "missing")]
)
@pytest.mark.parametrize("part", [f"{HOOKS[0]}.00001.bin", "contexts.00001.parquet"])
def test_damaged_shards_are_told(tiny_lm, corpus, tmp_path, damage, says, part):
    folder = tmp_path / "h"
    harvest(settings(), tiny_lm, corpus, folder)
    damage(folder / part)
    source = ShardSource(folder, HOOKS[0])
    with pytest.raises(UserError, match=rf"{part}.*{says}.*run `saebench harvest` again"):
        list(itertools.islice(source.blocks(), 100))


def test_a_folder_of_another_harvest_is_refused(tiny_lm, corpus, tmp_path):
    harvest(settings(), tiny_lm, corpus, tmp_path / "h")
    with pytest.raises(UserError, match=r"another harvest .*choose another --id"):
        harvest(settings(batch_contexts=4), tiny_lm, corpus, tmp_path / "h")


def test_unfinished_damaged_and_newer_manifests(tiny_lm, corpus, tmp_path):
    with pytest.raises(UserError, match="run `saebench harvest` first"):
        ShardSource(tmp_path / "none", HOOKS[0])
    with pytest.raises(StopError):
        harvest(settings(), tiny_lm, corpus, tmp_path / "part", stop_after(20))
    with pytest.raises(UserError, match="not finished"):
        ShardSource(tmp_path / "part", HOOKS[0])
    harvest(settings(), tiny_lm, corpus, tmp_path / "h")
    with pytest.raises(UserError, match=r"has no 'blocks\.0\.hook_mlp_out'; it has"):
        ShardSource(tmp_path / "h", "blocks.0.hook_mlp_out")
    path = tmp_path / "h" / "manifest.json"
    text = path.read_text()
    path.write_text(text.replace('"version": 1', '"version": 9'))
    with pytest.raises(UserError, match="newer saebench"):
        ShardSource(tmp_path / "h", HOOKS[0])
    path.write_text(text[: len(text) // 2])
    with pytest.raises(UserError, match=r"manifest.json is damaged"):
        ShardSource(tmp_path / "h", HOOKS[0])


def test_values_too_large_for_half_precision_are_refused(tiny_lm, corpus, tmp_path, monkeypatch):
    real = tiny_lm.activations

    def scaled(tokens, hooks):
        return {name: value * 1e6 for name, value in real(tokens, hooks).items()}

    monkeypatch.setattr(tiny_lm, "activations", scaled)
    with pytest.raises(UserError, match=r"not finite in float16.*bfloat16 or float32"):
        harvest(settings(precision="float16"), tiny_lm, corpus, tmp_path / "h")


def test_a_full_disk_leaves_nothing_half_written(tiny_lm, corpus, tmp_path):
    folder = tmp_path / "h"
    with pytest.raises(StopError):
        harvest(settings(), tiny_lm, corpus, folder, stop_after(20))
    shutil.copytree(folder, tmp_path / "before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(UserError, match="cannot write"):
            harvest(settings(), tiny_lm, corpus, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    before, after = fingerprint(tmp_path / "before"), fingerprint(folder)
    assert before.items() <= after.items()
    assert not list(folder.glob("*.tmp"))
    harvest(settings(), tiny_lm, corpus, folder)
    shutil.rmtree(tmp_path / "before")
    harvest(settings(), tiny_lm, corpus, tmp_path / "before" / "h")
    assert fingerprint(tmp_path / "before" / "h") == fingerprint(folder)
