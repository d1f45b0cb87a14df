"""From blocks of foreign contexts to an index of a workspace."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from store.blocks import ContextBlock, DecoderTables
from store.catalog import Catalog
from store.errors import explained
from store.files import remove_folder
from store.workspace import indexes_folder, split_index_id, staging_folder
from store.writer import IndexWriter, find_index


def build_index(
    workspace: Path,
    identifier: str,
    provenance: dict[str, Any],
    blocks: Iterable[ContextBlock],
    documents: Sequence[tuple[str, int, str]],
    vocabulary: Sequence[bytes],
    decoder: DecoderTables,
) -> Path:
    """Write an index and enter it into the catalogue, or find it done.

    A killed import goes on behind the blocks that it had staged: they must come in the same order and sizes. If a
    block is refused, what was staged is removed.

    Args:
        identifier: `<SAE id>.<corpus id>`.
        blocks: contexts of equal length; others: as for `IndexWriter.finish`.

    Raises:
        StoreError: a block makes no sense, another process builds this index, or the disk is full.
    """
    destination = indexes_folder(workspace)
    path = find_index(destination, identifier, provenance)
    if path is None:
        with _staged(staging_folder(workspace, identifier), len(decoder.decoder_norm), provenance, blocks) as writer:
            path = destination / writer.finish(destination, identifier, documents, vocabulary, decoder).name
    sae, corpus = split_index_id(identifier)
    catalog = Catalog(workspace)
    catalog.put("corpus", corpus, {"imported": provenance["imported"], "documents": len(documents)})
    catalog.put("index", identifier, {"sae": sae, "corpus": corpus, "file": path.name, "provenance": provenance})
    return path


@contextmanager
def _staged(
    staging: Path, n_features: int, provenance: dict[str, Any], blocks: Iterable[ContextBlock]
) -> Iterator[IndexWriter]:
    """A writer that has all blocks, there to be finished; what it staged is removed if anything is refused."""
    writer: IndexWriter | None = None
    done = 0
    try:
        for block in blocks:
            if writer is None:
                writer = IndexWriter(staging, n_features, block.tokens.shape[1], provenance)
            if done >= writer.n_contexts:
                writer.add(block)
            done += len(block.tokens)
        assert writer is not None, "there are contexts"
        yield writer
    except BaseException as error:
        if writer is not None:
            writer.close()
            if isinstance(error, Exception):
                remove_folder(staging)
        raise


def unknown_decoder(n_features: int) -> DecoderTables:
    """Tables of features of which only activations are known: NaN, and lists without entries."""
    unknown, none = np.full(n_features, np.nan, np.float32), np.zeros((n_features, 0))
    ids, values = none.astype(np.int32), none.astype(np.float32)
    edges = np.zeros(1, np.float32)
    return DecoderTables(unknown, unknown, ids, values, ids, values, ids, values, edges, ids)


def hash_files(paths: Iterable[Path]) -> str:
    """sha256 over the names and contents of files, in the order given.

    Raises:
        StoreError: one cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode())
        with explained("cannot read", path), path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
