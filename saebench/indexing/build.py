"""The encode pass: run the model and the SAE over a corpus and hand the codes to the store.

Decisions: the corpus is cut into parts of the same number of contexts however many processes there are, and they take
turns: part i is encoded by process i % n. So what is staged does not depend on n, and a run goes on with any number.
"""

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saebench.corpus import Contexts, Corpus
from saebench.errors import UserError
from saebench.indexing.attribution import attribute, check_attention
from saebench.indexing.config import IndexConfig
from saebench.indexing.decoder import decoder_tables
from saebench.lm import LanguageModel
from saebench.saes import SAE
from saebench.saes.axis import UNDIVIDED, Axis
from store import ContextBlock, IndexWriter, stage_block

Progress = Callable[[int], None]
"""Called with the number of contexts finished so far."""


def build_index(
    config: IndexConfig,
    lm: LanguageModel,
    sae: SAE,
    corpus: Corpus,
    hook_point: str,
    *,
    indexes: Path,
    index_id: str,
    provenance: dict[str, Any],
    on_progress: Progress = lambda _: None,
    ranks: Axis = UNDIVIDED,
) -> Path:
    """Encode `corpus` and build one immutable index file under `indexes`, going on where a killed run stopped.

    Every process of `ranks` encodes its parts of the corpus; the first one builds the file.

    Returns:
        The index file, named by its content.

    Raises:
        UserError: the SAE does not fit the hook point.
        StoreError: the staged parts belong to another SAE or corpus, or the disk is full.
    """
    lm.check_hook_points([hook_point])
    check_attention(config, lm, hook_point)
    staging, shape = indexes / ".building" / index_id, (len(sae.W_enc), corpus.length)
    writer = IndexWriter(staging, *shape, provenance, config.parts) if ranks.rank == 0 else None
    staged = ranks.from_first(writer.staged if writer else None)
    elsewhere = partial(stage_block, staging, *shape, parts=config.parts)
    stage: Callable[[ContextBlock, int], None] = writer.add if writer else elsewhere
    blocks = corpus.blocks(config.batch_contexts)
    start = 0
    for part in itertools.count():
        batches = list(itertools.islice(blocks, config.part_batches))
        if not batches:
            break
        if part % ranks.size == ranks.rank and start not in staged:
            encoded = [encode_batch(lm, sae, hook_point, batch) for batch in batches]
            stage(join(batches, encoded), start)
        start += sum(len(batch.tokens) for batch in batches)
        on_progress(start)
    ranks.wait()
    path = None
    if writer:
        writer.collect()
        attribute(config, lm, sae, hook_point, writer)
        decoder = decoder_tables(config, lm, sae, hook_point)
        memory = int(config.memory_gib * 2**30)
        path = writer.finish(indexes, index_id, corpus.documents, corpus.tokenizer.vocabulary, decoder, memory)
    return Path(ranks.from_first(path))


Codes = tuple[np.ndarray, np.ndarray, np.ndarray]
"""(active features of every token, features, values): counts, not offsets, so that batches join by concatenation."""


@torch.no_grad()
def encode_batch(lm: LanguageModel, sae: SAE, hook_point: str, batch: Contexts) -> Codes:
    """Codes of every token of a batch; special tokens have none, and neither have values ≤ 0."""
    activations = lm.activations(torch.from_numpy(batch.tokens).long(), [hook_point])[hook_point].float()
    if activations.shape[-1] != sae.W_enc.shape[1]:
        raise UserError(
            f"the SAE reads vectors of {sae.W_enc.shape[1]}, but {hook_point} of model {lm.name!r} has "
            f"{activations.shape[-1]}; choose the model and hook point that it was trained on"
        )
    keep = ~batch.special
    codes = sae.encode(activations[torch.from_numpy(keep).to(activations.device)])
    offsets, features, values = (part.cpu() for part in (codes.offsets, codes.latents, codes.values.float()))
    lengths, positive = offsets.diff(), values > 0
    row = torch.repeat_interleave(torch.arange(len(lengths)), lengths)[positive]
    counts = np.zeros(keep.size, np.int64)
    counts[keep.ravel()] = torch.bincount(row, minlength=len(lengths)).numpy()
    return counts, features[positive].numpy(), values[positive].numpy()


def join(batches: list[Contexts], encoded: list[Codes]) -> ContextBlock:
    """One block for the store of several batches and their codes."""
    contexts = Contexts.stack(batches)
    counts, features, values = (np.concatenate(parts) for parts in zip(*encoded, strict=True))
    return ContextBlock(
        tokens=contexts.tokens,
        special=contexts.special,
        source=contexts.source,
        bounds=contexts.bounds,
        segments=contexts.segments,
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        features=features.astype(np.int32),
        values=values,
    )
