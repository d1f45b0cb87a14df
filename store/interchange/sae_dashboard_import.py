"""An index of the examples in SAEDashboard's files.

Decisions:
- Every example is a context and a document of its own, with codes of its one feature. Examples of several features with
  the same text are not joined: the file does not say what the others do there, so joined they would look silent or
  co-active where nobody knows. Hence such an index has no co-activation and no hard negatives.
- The tables are exact for these examples; the file's own density and histogram of activations are of a corpus that the
  file does not hold, so they stay there. Logit histograms are kept, their bars moved into bins that all features share.
- Without a tokenizer, token ids are numbers of our own: the file knows tokens by their texts only.
- The files are read twice, once to check everything and to learn the tokens, once to write: a large SAE's files need
  not fit into memory.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.blocks import ContextBlock, DecoderTables
from store.errors import StoreError
from store.halfs import to_bits
from store.interchange.building import build_index, hash_files, unknown_decoder
from store.interchange.names import plain
from store.interchange.sae_dashboard_files import Described, batch_files, read_batch
from store.interchange.sae_dashboard_files import Sequence as Example
from store.interchange.token_texts import PADDING, ids_of_texts
from store.workspace import index_id

KNOWS = (
    "only the examples in the imported files: counts, densities and quantiles are over them and not over a corpus; "
    "positions are those in an example; decoder norms, neighbours, co-activation and hard negatives are unknown; a "
    "feature that is in no file looks dead"
)
_BINS = 48
_CONTEXTS_AT_ONCE = 2048


@dataclass
class _Survey:
    """What a first reading of all files has found."""

    head: dict[str, Any] = field(default_factory=dict)
    features: dict[int, Path] = field(default_factory=dict)
    texts: dict[str, int] = field(default_factory=dict)
    longest: int = 0
    documents: list[tuple[str, int, str]] = field(default_factory=list)
    logits: dict[int, Described] = field(default_factory=dict)


def import_sae_dashboard(
    workspace: str | Path,
    source: str | Path,
    sae: str | None = None,
    corpus: str = "imported",
    vocabulary: Sequence[bytes] | None = None,
) -> Path:
    """Build an index from a folder of SAEDashboard's `batch-*.json`, or from one such file.

    Args:
        workspace: folder that everything is kept in.
        source: the folder or file.
        sae: id of the SAE; by default made from the model, layer and set that the file names.
        corpus: id of the corpus.
        vocabulary: bytes of each token id of the model's tokenizer; without it, ids are numbers of our own.

    Returns:
        The index file; the same one if these files were imported before.

    Raises:
        StoreError: a file is damaged or inconsistent, or a token is not in the vocabulary; nothing is written then.
    """
    paths = batch_files(Path(source))
    survey = _survey(paths, vocabulary)
    head = survey.head
    identifier = index_id(sae or f"{plain(head['model_id'])}.{head['layer']}-{plain(head['sae_set'])}", corpus)
    known = [text.encode() for text in survey.texts] if vocabulary is None else list(vocabulary)
    decoder = _decoder(survey)
    provenance = {
        "imported": {
            "format": "SAEDashboard",
            "files": len(paths),
            "sha256": hash_files(paths),
            "features": len(survey.features),
            "examples": len(survey.documents),
            "token_ids": "the files' own" if vocabulary is None else "a tokenizer's",
        },
        "knows": KNOWS,
        "model": {"name": head["model_id"]},
        "sae": {"id": identifier.rpartition(".")[0], "layer": head["layer"], "set": head["sae_set"]},
        "corpus": {key: head[key] for key in ("dataset", "n_prompts_total", "n_tokens_in_prompt")},
    }
    blocks = _blocks(paths, survey, known)
    return build_index(Path(workspace), identifier, provenance, blocks, survey.documents, [*known, PADDING], decoder)


def _survey(paths: list[Path], vocabulary: Sequence[bytes] | None) -> _Survey:
    """Read all files once; without a vocabulary, texts are numbered as they come."""
    survey = _Survey(texts={} if vocabulary is None else ids_of_texts(vocabulary))
    for path in paths:
        batch = read_batch(path)
        survey.head = survey.head or batch.head
        for key in ("model_id", "layer", "sae_set"):
            if batch.head[key] != survey.head[key]:
                raise StoreError(
                    f"{path} is of {key} {batch.head[key]!r}, {paths[0]} of {survey.head[key]!r}; import them apart"
                )
        for described in batch.features:
            feature = described.feature
            if feature in survey.features:
                raise StoreError(f"feature {feature} is in {survey.features[feature]} and again in {path}; remove one")
            survey.features[feature] = path
            survey.logits[feature] = replace(described, sequences=[])
            texts = [text for text, _ in (*described.promoted, *described.suppressed)]
            _learn(survey, texts, f"{path}: feature {feature}", vocabulary is None)
            for number, example in enumerate(described.sequences):
                _learn(survey, example.tokens, f"{path}: example {number} of feature {feature}", vocabulary is None)
                survey.longest = max(survey.longest, len(example.tokens))
                source = b"".join(_bytes(text, survey, vocabulary) for text in example.tokens)
                name = f"feature {feature}, example {number}"
                survey.documents.append((name, len(source), hashlib.sha256(source).hexdigest()))
    if not survey.documents:
        raise StoreError(f"{paths[0].parent} has no examples of any feature; there is nothing to index")
    return survey


def _bytes(text: str, survey: _Survey, vocabulary: Sequence[bytes] | None) -> bytes:
    return text.encode() if vocabulary is None else vocabulary[survey.texts[text]]


def _learn(survey: _Survey, texts: list[str], where: str, anew: bool) -> None:
    for text in texts:
        if text in survey.texts:
            continue
        if not anew:
            raise StoreError(
                f"{where} has the token {text!r}, which is not in the tokenizer's vocabulary; name the tokenizer that "
                "made the file, or leave it out and ids will be numbers of our own"
            )
        survey.texts[text] = len(survey.texts)


def _blocks(paths: list[Path], survey: _Survey, vocabulary: list[bytes]) -> Iterator[ContextBlock]:
    """The examples as contexts, in the order of the files; equally cut in every run."""
    widths = np.array([len(piece) for piece in vocabulary], np.int32)
    held: list[tuple[int, Example]] = []
    first = 0
    for path in paths:
        for described in read_batch(path).features:
            held += [(described.feature, example) for example in described.sequences]
            while len(held) >= _CONTEXTS_AT_ONCE:
                yield _block(held[:_CONTEXTS_AT_ONCE], first, survey, vocabulary, widths)
                held, first = held[_CONTEXTS_AT_ONCE:], first + _CONTEXTS_AT_ONCE
    if held:
        yield _block(held, first, survey, vocabulary, widths)


def _block(
    examples: list[tuple[int, Example]],
    first: int,
    survey: _Survey,
    vocabulary: list[bytes],
    widths: NDArray[np.int32],
) -> ContextBlock:
    n, length = len(examples), survey.longest
    tokens = np.full((n, length), len(vocabulary), np.int32)
    values = np.zeros((n, length), np.float32)
    spans = np.zeros((n, length), np.int32)
    special = np.ones((n, length), bool)
    source = []
    for i, (_, example) in enumerate(examples):
        ids = np.array([survey.texts[text] for text in example.tokens])
        here = slice(len(ids))
        tokens[i, here], spans[i, here], values[i, here], special[i, here] = ids, widths[ids], example.values, False
        source.append(b"".join(vocabulary[token] for token in ids))
    active = to_bits(values) > 0
    features = np.repeat(np.array([feature for feature, _ in examples], np.int32), active.sum(1))
    bounds = np.concatenate([np.zeros((n, 1), np.int32), np.cumsum(spans, axis=1, dtype=np.int32)], axis=1)
    segments = [[(0, first + i, 0)] for i in range(n)]
    offsets = np.concatenate([[0], np.cumsum(active.ravel())]).astype(np.int64)
    return ContextBlock(tokens, special, source, bounds, segments, offsets, features, values[active])


def _decoder(survey: _Survey) -> DecoderTables:
    """The logits that the files name; a list that is shorter than another's, or none, ends in -1."""
    n = max(survey.features) + 1
    tables = {name: getattr(unknown_decoder(n), name) for name in ("decoder_norm", "neighbours", "neighbour_cosine")}
    edges = _shared_edges([described.logit_bars[0] for described in survey.logits.values()])
    counts = np.zeros((n, len(edges) - 1), np.int32)
    for feature, described in survey.logits.items():
        middles, heights = described.logit_bars
        counts[feature] = np.rint(np.histogram(middles, edges, weights=heights)[0]) if middles else 0
    named = survey.logits.items()
    promoted = _table({feature: described.promoted for feature, described in named}, n, survey.texts)
    suppressed = _table({feature: described.suppressed for feature, described in named}, n, survey.texts)
    return DecoderTables(
        **tables,
        encoder_decoder_cosine=tables["decoder_norm"],
        promoted=promoted[0],
        promoted_logit=promoted[1],
        suppressed=suppressed[0],
        suppressed_logit=suppressed[1],
        logit_histogram_edges=edges,
        logit_histogram=counts,
    )


def _shared_edges(middles: list[list[float]]) -> NDArray[np.float32]:
    """Edges of bins that hold the middles of all bars; [0] if there are none."""
    values = [value for bars in middles for value in bars]
    if not values:
        return np.zeros(1, np.float32)
    low, high = min(values), max(values)
    margin = (high - low) / (2 * _BINS) or 0.5
    return np.linspace(low - margin, high + margin, _BINS + 1).astype(np.float32)


def _table(
    lists: dict[int, list[tuple[str, float]]], n: int, ids: dict[str, int]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Token ids and logits, one row per feature."""
    width = max(map(len, lists.values()), default=0)
    tokens, values = np.full((n, width), -1, np.int32), np.zeros((n, width), np.float32)
    for feature, row in lists.items():
        tokens[feature, : len(row)] = [ids[text] for text, _ in row]
        values[feature, : len(row)] = [value for _, value in row]
    return tokens, values
