"""Run a model over a corpus and write activation shards."""

import hashlib
import itertools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
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

    def load() -> list[Contexts]:
        return list(itertools.islice(blocks, config.shard_batches))

    def finish(shard: Future[Shard]) -> None:
        manifest.shards.append(shard.result())
        manifest.write(folder)

    # While the model runs over one shard, the next is tokenized and the last written: each in its own thread.
    with ThreadPoolExecutor(1) as loader, ThreadPoolExecutor(1) as writer:
        loading, writing = loader.submit(load), None
        done = manifest.n_contexts
        for number in itertools.count(len(manifest.shards)):
            if not (batches := loading.result()):
                break
            loading = loader.submit(load)
            activations: dict[str, list[Tensor]] = {name: [] for name in config.hook_points}
            for batch in batches:
                for name, value in lm.activations(torch.from_numpy(batch.tokens).long(), config.hook_points).items():
                    activations[name].append(cast(value, config.precision, name))
                    manifest.widths[name] = value.shape[-1]
                done += len(batch)
                on_progress(done)
            if writing is not None:
                finish(writing)
            writing = writer.submit(write_shard, folder, number, Contexts.stack(batches), activations)
        if writing is not None:
            finish(writing)
    manifest.complete = True
    manifest.corpus_sha256 = corpus.sha256
    manifest.write(folder)
    return manifest


def write_shard(folder: Path, number: int, contexts: Contexts, activations: dict[str, list[Tensor]]) -> Shard:
    """Write every file of one shard."""
    files = {"contexts": write_contexts(folder, number, contexts)}
    files |= {name: write_activations(folder, name, number, values) for name, values in activations.items()}
    return Shard(contexts=len(contexts), files=files)


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
    dtype: torch.dtype = getattr(torch, precision)
    largest = float(torch.linalg.vector_norm(values, torch.inf))
    if not largest <= torch.finfo(dtype).max:
        raise UserError(
            f"activations of {name} are not finite in {precision} (largest {largest:.3g}); "
            "set harvest.precision to bfloat16 or float32"
        )
    return values.to("cpu", dtype)


def write_activations(folder: Path, name: str, number: int, values: list[Tensor]) -> ShardFile:
    """Write one hook point's rows, raw and row after row."""
    digest, size = hashlib.sha256(), 0
    with atomic_write(folder / file_name(name, number)) as file:
        for value in values:
            raw = value.contiguous().view(torch.uint8).numpy().ravel().data
            digest.update(raw)
            size += file.write(raw)
    return ShardFile(bytes=size, sha256=digest.hexdigest())


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
