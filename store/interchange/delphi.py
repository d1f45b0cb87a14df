"""An index of the latents that delphi has cached: exact codes, as far as the files go.

A module's folder holds `{start}_{end}.safetensors` (`end` included; latents counted from `start`): locations[n, 3]
(row, position, latent), activations[n] and, in each, the same tokens[rows, positions] (eai-delphi 0.1.3, `LatentCache.
save_splits`).

Decisions:
- A row of tokens is a context and a document of its own: delphi packs documents into rows and forgets where they began.
- What the tokenizer calls special has no codes here, as in every index, although delphi keeps what the SAE gives at the
  begin token; how many codes that leaves out is in the provenance.
- Activations are half floats in both, so they are the same numbers.
- All codes are held in memory, sorted (12 to 20 bytes each).
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.blocks import ContextBlock
from store.errors import StoreError
from store.interchange.building import build_index, hash_files, unknown_decoder
from store.interchange.names import plain
from store.interchange.sae_dashboard_files import MOST_FEATURES
from store.workspace import index_id

KNOWS = (
    "every code that delphi cached, which are those above 1e-5; decoder norms, neighbours and logits are unknown; "
    "a row of tokens counts as a document"
)
_SPLIT = re.compile(r"(\d+)_(\d+)\.safetensors")
_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class _Split:
    """One file: codes of latents `start` to `end`, sorted by place.

    Attributes:
        place: int64[n], row · positions + position; latent: counted from `start`; values: float[n].
    """

    path: Path
    start: int
    end: int
    place: NDArray[np.int64]
    latent: NDArray[np.unsignedinteger[Any]]
    values: NDArray[np.floating[Any]]


def import_delphi(
    workspace: str | Path,
    folder: str | Path,
    vocabulary: Sequence[bytes],
    special: Sequence[int] = (),
    sae: str | None = None,
    corpus: str = "imported",
) -> Path:
    """Build an index from the folder of one module in delphi's cache.

    Args:
        workspace: folder that everything is kept in.
        folder: holds `0_4095.safetensors`, `4096_8191.safetensors`, …
        vocabulary: bytes of each token id of the model's tokenizer; of special tokens their name.
        special: ids of the special tokens.
        sae: id of the SAE; by default the folder's name.
        corpus: id of the corpus.

    Returns:
        The index file; the same one if these files were imported before.

    Raises:
        StoreError: files are missing, damaged, overlap or do not fit together, or tokens lie outside the vocabulary;
            nothing is written then.
    """
    source = Path(folder)
    ranges = _ranges(source)
    identifier = index_id(sae or plain(source.resolve().name), corpus)
    tokens = _tokens([path for _, _, path in ranges], vocabulary)
    splits = [_read_split(path, start, end, tokens.shape) for start, end, path in ranges]
    hidden = np.isin(tokens, np.array(special, np.int64))
    provenance = {
        "imported": {
            "format": "delphi",
            "files": len(splits),
            "sha256": hash_files([split.path for split in splits]),
            "codes": sum(len(split.place) for split in splits),
            "codes_left_out_at_special_tokens": sum(int(hidden.ravel()[s.place].sum()) for s in splits),
        },
        "knows": KNOWS,
        "sae": {"id": identifier.rpartition(".")[0], "hook_point": source.resolve().name},
    }
    widths = np.where(hidden, 0, np.array([len(piece) for piece in vocabulary], np.int32)[tokens])
    sources = [b"".join(vocabulary[token] for token in row[~mask]) for row, mask in zip(tokens, hidden, strict=True)]
    documents = [(f"row {number}", len(text), hashlib.sha256(text).hexdigest()) for number, text in enumerate(sources)]
    blocks = _blocks(splits, tokens, hidden, widths, sources)
    decoder = unknown_decoder(splits[-1].end + 1)
    return build_index(Path(workspace), identifier, provenance, blocks, documents, vocabulary, decoder)


def _ranges(folder: Path) -> list[tuple[int, int, Path]]:
    """(first latent, last latent, file), by latent: every latent from 0 on in exactly one file."""
    matches = [(_SPLIT.fullmatch(path.name), path) for path in folder.glob("*.safetensors")]
    found = sorted((int(match[1]), int(match[2]), path) for match, path in matches if match)
    if not found:
        raise StoreError(
            f"{folder} has no files like 0_4095.safetensors; name the folder of one module in delphi's cache"
        )
    expected = 0
    for start, end, path in found:
        if end < start or end >= MOST_FEATURES:
            raise StoreError(f"{path.name} in {folder} names no range of latents; rename it as delphi wrote it")
        if start < expected:
            raise StoreError(f"{path.name} in {folder} has latents that another file has too; remove one of the two")
        if start > expected:
            raise StoreError(f"{folder} has no file of latents {expected} to {start - 1}; copy the missing file")
        expected = end + 1
    return found


def _arrays(path: Path, names: Sequence[str]) -> list[NDArray[Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            missing = [name for name in names if name not in file.keys()]  # noqa: SIM118 (it is no mapping)
            if missing:
                raise StoreError(
                    f"{path} has no {' or '.join(missing)}; cache the latents again with delphi's save_splits and "
                    "save_tokens"
                )
            return [file.get_tensor(name) for name in names]
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}); was it cut short? copy or make it again") from None


def _tokens(paths: list[Path], vocabulary: Sequence[bytes]) -> NDArray[np.int64]:
    """int64[rows, positions], the tokens that all files share."""
    tokens = _arrays(paths[0], ["tokens"])[0]
    if tokens.ndim != 2 or not tokens.size or tokens.dtype.kind not in "iu":
        raise StoreError(f"{paths[0]} has tokens {tokens.dtype}{list(tokens.shape)}; they should be rows of token ids")
    for path in paths[1:]:
        if not np.array_equal(_arrays(path, ["tokens"])[0], tokens):
            raise StoreError(f"{path.name} has other tokens than {paths[0].name}; take files of one run of delphi")
    if tokens.min() < 0 or tokens.max() >= len(vocabulary):
        raise StoreError(
            f"{paths[0]} has token {tokens.max() if tokens.min() >= 0 else tokens.min()}, but the tokenizer has 0 to "
            f"{len(vocabulary) - 1}; name the tokenizer of the model whose latents these are"
        )
    return tokens.astype(np.int64)


def _read_split(path: Path, start: int, end: int, shape: tuple[int, ...]) -> _Split:
    locations, values = _arrays(path, ["locations", "activations"])
    if locations.ndim != 2 or locations.shape[1] != 3 or locations.dtype.kind not in "iu":
        raise StoreError(f"{path} has locations {locations.dtype}{list(locations.shape)}; they should be whole [n, 3]")
    if values.shape != locations.shape[:1] or values.dtype.kind != "f":
        raise StoreError(
            f"{path} has {len(locations)} locations, but activations {values.dtype}{list(values.shape)}; make it again"
        )
    limits = (*shape, end - start + 1)
    if len(locations) and ((locations.min(0) < 0).any() or (locations.max(0) >= limits).any()):
        raise StoreError(
            f"{path} has locations outside its {shape[0]} rows, {shape[1]} positions and {limits[2]} latents; "
            "was it renamed? make it again"
        )
    if not np.isfinite(values).all():
        raise StoreError(f"{path} has an activation that is NaN or infinite; cache the latents of a sound SAE again")
    if (values < 0).any():
        raise StoreError(f"{path} has negative activations, which no index can hold; cache an SAE that has none")
    place = locations[:, 0].astype(np.int64) * shape[1] + locations[:, 1]
    latent = locations[:, 2]
    order = np.lexsort((latent, place))
    place, latent, values = place[order], latent[order], values[order]
    if ((place[1:] == place[:-1]) & (latent[1:] == latent[:-1])).any():
        raise StoreError(f"{path} has the same latent twice at one token; make it again")
    return _Split(path, start, end, place, latent, values)


def _blocks(
    splits: list[_Split],
    tokens: NDArray[np.int64],
    hidden: NDArray[np.bool_],
    widths: NDArray[np.int32],
    sources: list[bytes],
) -> Iterator[ContextBlock]:
    """Rows as contexts, equally cut in every run."""
    rows, length = tokens.shape
    for first in range(0, rows, _ROWS_AT_ONCE):
        last = min(first + _ROWS_AT_ONCE, rows)
        special = hidden[first:last]
        place, feature, value = _codes(splits, first * length, last * length)
        kept = ~special.ravel()[place]
        bounds = np.zeros((last - first, length + 1), np.int32)
        np.cumsum(widths[first:last], axis=1, out=bounds[:, 1:])
        yield ContextBlock(
            tokens=tokens[first:last].astype(np.int32),
            special=special,
            source=sources[first:last],
            bounds=bounds,
            segments=[[(0, row, 0)] for row in range(first, last)],
            offsets=np.concatenate([[0], np.cumsum(np.bincount(place[kept], minlength=special.size))]),
            features=feature[kept],
            values=value[kept],
        )


def _codes(
    splits: list[_Split], low: int, high: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """(place counted from `low`, feature, value) of the codes at places low to high - 1, by place."""
    parts = [(split, slice(*np.searchsorted(split.place, [low, high]))) for split in splits]
    place = np.concatenate([split.place[here] for split, here in parts]) - low
    feature = np.concatenate([split.latent[here].astype(np.int32) + split.start for split, here in parts])
    value = np.concatenate([split.values[here].astype(np.float32) for split, here in parts])
    order = np.argsort(place, kind="stable")
    return place[order], feature[order].astype(np.int32), value[order]
