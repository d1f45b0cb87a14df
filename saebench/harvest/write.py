"""Run a model over a corpus and write activation shards."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from saebench import __version__
from saebench.config import HarvestConfig
from saebench.corpus import Contexts, Corpus
from saebench.errors import UserError
from saebench.files import atomic_write, file_sha256
from saebench.harvest.manifest import Manifest, Shard, ShardFile, check_file, file_name
from saebench.lm import LanguageModel

Progress = Callable[[int], None]
"""Called with the number of contexts finished so far."""


def harvest(
    config: HarvestConfig, lm: LanguageModel, corpus: Corpus, folder: Path, on_progress: Progress = lambda _: None
) -> Manifest:
    """Write the activations of `config.hook_points` over `corpus` into `folder`, going on where it stopped.

    A shard counts as finished once the manifest names it; what a killed run left beyond that is written again,
    bit for bit the same.

    Raises:
        UserError: unknown hook point, empty corpus, full disk, or a folder that holds another harvest.
    """
    lm.check_hook_points(config.hook_points)
    manifest = open_manifest(config, lm, corpus, folder)
    if manifest.complete:
        return manifest
    blocks = corpus.blocks(config.batch_contexts, manifest.n_contexts)
    while batches := list(itertools.islice(blocks, config.shard_batches)):
        activations: dict[str, list[Tensor]] = {name: [] for name in config.hook_points}
        done = manifest.n_contexts
        for batch in batches:
            found = lm.activations(torch.from_numpy(batch.tokens).long(), config.hook_points)
            for name, value in found.items():
                activations[name].append(cast(value, config.precision, name))
            done += len(batch)
            on_progress(done)
        number = len(manifest.shards)
        files = {"contexts": write_contexts(folder, number, Contexts.stack(batches))}
        for name, values in activations.items():
            files[name] = write_activations(folder, name, number, values)
            manifest.widths[name] = values[0].shape[-1]
        manifest.shards.append(Shard(contexts=sum(map(len, batches)), files=files))
        manifest.write(folder)
    manifest.complete = True
    manifest.corpus_sha256 = corpus.sha256
    manifest.write(folder)
    return manifest


def open_manifest(config: HarvestConfig, lm: LanguageModel, corpus: Corpus, folder: Path) -> Manifest:
    """The folder's manifest, or a fresh one; a folder of another harvest is refused, key by key."""
    provenance = {
        "model": lm.provenance,
        "corpus": corpus.config.model_dump(),
        "harvest": config.model_dump(),
        "code": __version__,
        "torch": torch.__version__,
    }
    fresh = Manifest(id=folder.name, provenance=provenance, context_length=corpus.length, precision=config.precision)
    if not (folder / "manifest.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        fresh.write(folder)
        return fresh
    manifest = Manifest.read(folder)
    for section, value in fresh.provenance.items():
        if section in ("code", "torch") and manifest.complete:
            continue  # a finished harvest stays good; an unfinished one must go on as it began
        if (old := manifest.provenance.get(section)) != value:
            raise UserError(
                f"{folder} holds a harvest with another {section} ({old} instead of {value}); "
                "choose another --id, or remove the folder"
            )
    for number, shard in enumerate(manifest.shards):
        for part, expected in shard.files.items():
            check_file(folder, part, number, expected)
    return manifest


def cast(values: Tensor, precision: str, name: str) -> Tensor:
    """Activations in the shards' precision.

    Raises:
        UserError: values that are not finite, or too large for the precision.
    """
    stored = values.to("cpu", getattr(torch, precision))
    if not torch.isfinite(stored).all():
        raise UserError(
            f"activations of {name} are not finite in {precision} (largest {values.abs().max():.3g}); "
            "set harvest.precision to bfloat16 or float32"
        )
    return stored


def write_activations(folder: Path, name: str, number: int, values: list[Tensor]) -> ShardFile:
    """Write one hook point's rows, raw and row after row."""
    path = folder / file_name(name, number)
    with atomic_write(path) as file:
        for value in values:
            file.write(value.contiguous().view(torch.uint8).numpy().tobytes())
    return ShardFile(bytes=path.stat().st_size, sha256=file_sha256(path))


def write_contexts(folder: Path, number: int, contexts: Contexts) -> ShardFile:
    """Write tokens, marks and sources of a shard's contexts as Parquet."""
    table = pa.table(
        {
            "tokens": list(contexts.tokens),
            "special": list(contexts.special),
            "source": pa.array(contexts.source, pa.binary()),
            "bounds": list(contexts.bounds),
            "segments": pa.array(
                [[{"token": t, "document": d, "byte": b} for t, d, b in row] for row in contexts.segments]
            ),
        }
    )
    path = folder / file_name("contexts", number)
    with atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd")
    return ShardFile(bytes=path.stat().st_size, sha256=file_sha256(path))
