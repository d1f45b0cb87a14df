"""A small index that looks like a real one: Python-like text, Zipf features, dead, dense and whitespace features.

python tests/store/synthetic.py WORKSPACE      # then: saebench serve --workspace WORKSPACE
"""

import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from store import Catalog, ContextBlock, DecoderTables, IndexWriter, index_id, indexes_folder, staging_folder

SAE = "demo.blocks.2.hook_resid_post.topk-300-k8"
CORPUS = "stdlib-heldout"
LENGTH = 64
N_FEATURES = 300
N_CONTEXTS = 320
DENSE, WHITESPACE, NON_ASCII = 0, 7, 11
DEAD = (13, 150, 298, 299)
END = 256

_NAMES = ["value", "items", "path", "result", "node", "token", "self", "config", "buffer", "index", "count", "name"]
_TEXT = "returns the number of items before each call and raises an error when nothing was found in this file"
_WORDS = _TEXT.split()
_STRANGE = ["naïve", "→", "日本語", "🙂 ok", "Größe", "été", "x ≤ y", "“quoted”", "Москва", "e\u0301"]


def python_text(rng: np.random.Generator, n_lines: int) -> str:
    """Lines of something like Python."""
    lines = ["import os, sys", "from collections import defaultdict", ""]
    while len(lines) < n_lines:
        a, b, c = (str(x) for x in rng.choice(_NAMES, 3))
        words = " ".join(str(x) for x in rng.choice(_WORDS, int(rng.integers(3, 9))))
        strange = str(rng.choice(_STRANGE)) if rng.random() < 0.3 else words.split()[0]
        number = int(rng.integers(0, 1000))
        snippets = [
            f'def {a}_{b}(self, {c}=None):\n    """{words.capitalize()} {strange}."""\n    return self.{b}[{c}]\n',
            f"    for {a} in range(len({b})):\n        if {a} % {number} == 0:\n            continue",
            f"class {a.title()}{b.title()}(object):\n    # {words} {strange}\n    {c} = '{strange}'\n",
            f"\ttry:\n\t\t{a} = {b}.{c}()\n\texcept (ValueError, KeyError):\n\t\traise",
            f"{a} = {{'{b}': {number}, '{c}': [{a}, {b}]}}",
            "    assert isinstance(value, (int, float)), 'expected a number'",
        ]
        lines += snippets[int(rng.integers(len(snippets)))].split("\n")
    return "\n".join(lines)


def split(text: str) -> list[bytes]:
    """Words, runs of spaces, newlines; characters outside ASCII byte by byte."""
    pieces: list[bytes] = []
    for piece in re.findall(r" ?[A-Za-z_]+|[0-9]|\n[ \t]*|[ \t]+|[^\sA-Za-z0-9_]", text):
        pieces += [piece.encode()] if piece.isascii() else [bytes([byte]) for byte in piece.encode()]
    return pieces


class Synthetic:
    """Documents, contexts and codes, all from one seed."""

    def __init__(self, seed: int = 0, n_contexts: int = N_CONTEXTS, n_features: int = N_FEATURES) -> None:
        rng = np.random.default_rng(seed)
        self.n_features, self.n_contexts = n_features, n_contexts
        texts = []
        documents: list[list[bytes]] = []
        while sum(len(pieces) + 1 for pieces in documents) < n_contexts * LENGTH:
            texts.append(python_text(rng, int(rng.integers(20, 120))))
            documents.append(split(texts[-1]))
        frequent = Counter(piece for pieces in documents for piece in pieces if len(piece) > 1)
        self.vocabulary = [bytes([b]) for b in range(256)] + [b"<|endoftext|>"] + [p for p, _ in frequent.most_common()]
        ids = {piece: token for token, piece in enumerate(self.vocabulary) if token != END}
        self.documents = [
            (f"stdlib/module_{i:03}.py", len(text.encode()), hashlib.sha256(text.encode()).hexdigest())
            for i, text in enumerate(texts)
        ]
        self._stream = [
            (document, byte, piece, END if piece is None else ids[piece])
            for document, pieces in enumerate(documents)
            for byte, piece in _with_end(pieces)
        ][: n_contexts * LENGTH]
        self.codes = _codes(rng, self._stream, self.vocabulary, n_features)
        self.provenance = {
            "seed": seed,
            "code_version": "0.1.0",
            "model": {"id": "demo", "sha256": "0" * 64},
            "sae": {"id": SAE, "hook_point": "blocks.2.hook_resid_post"},
            "corpus": {"id": CORPUS, "sha256": "2" * 64},
        }
        self.decoder = _decoder(rng, n_features, len(self.vocabulary))

    def blocks(self, contexts_per_block: int = 64, start: int = 0) -> Iterator[ContextBlock]:
        """The contexts from `start`, in blocks."""
        for first in range(start, self.n_contexts, contexts_per_block):
            yield self.block(first, min(first + contexts_per_block, self.n_contexts))

    def block(self, first: int, last: int) -> ContextBlock:
        """Contexts first to last - 1."""
        n = last - first
        tokens = np.full((n, LENGTH), END, np.int32)
        special = np.ones((n, LENGTH), bool)
        bounds = np.zeros((n, LENGTH + 1), np.int32)
        source: list[bytes] = []
        segments: list[list[tuple[int, int, int]]] = []
        for i in range(n):
            text, runs = b"", []
            begin = (first + i) * LENGTH
            for position, (document, byte, piece, token) in enumerate(self._stream[begin : begin + LENGTH]):
                tokens[i, position], special[i, position] = token, piece is None
                if piece is not None and (not runs or runs[-1][1] != document):
                    runs.append((position, document, byte))
                text += piece or b""
                bounds[i, position + 1] = len(text)
            source.append(text)
            segments.append(runs)
        places, features, values = self.codes
        here = slice(*np.searchsorted(places, [first * LENGTH, last * LENGTH]))
        offsets = np.searchsorted(places[here], np.arange(first * LENGTH, last * LENGTH + 1))
        return ContextBlock(tokens, special, source, bounds, segments, offsets, features[here], values[here])


def _with_end(pieces: list[bytes]) -> Iterator[tuple[int, bytes | None]]:
    byte = 0
    for piece in pieces:
        yield byte, piece
        byte += len(piece)
    yield byte, None


def _codes(
    rng: np.random.Generator, stream: list[tuple[int, int, bytes | None, int]], vocabulary: list[bytes], n_features: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """places, features, values sorted by place: features fire on tokens of their own, stronger on some."""
    tokens = np.array([token for *_, token in stream])
    ordinary = tokens != END
    blank = np.array([piece.strip() == b"" for piece in vocabulary])[tokens] & ordinary
    beyond = np.array([len(piece) == 1 and piece[0] > 127 for piece in vocabulary])[tokens]
    counts = np.bincount(tokens, minlength=len(vocabulary))
    counts[END] = 0
    places, features, values = [], [], []
    for feature in range(n_features):
        if feature in DEAD:
            continue
        share = 0.6 / (feature + 1) ** 0.9
        own = rng.choice(len(vocabulary), 1 + int(rng.integers(0, 4)), p=counts / counts.sum())
        where = ordinary & (
            np.isin(tokens, own) & (rng.random(len(tokens)) < 0.8) | (rng.random(len(tokens)) < share / 20)
        )
        if feature == DENSE:
            where = ordinary & (rng.random(len(tokens)) < 0.9)
        elif feature == WHITESPACE:
            where = blank
        elif feature == NON_ASCII:
            where = beyond
        found = np.flatnonzero(where)
        strength = np.where(np.isin(tokens[found], own), 3.0, 0.7)
        places.append(found)
        features.append(np.full(len(found), feature, np.int32))
        values.append((strength * rng.lognormal(0, 0.5, len(found))).astype(np.float32))
    place, feature_column, value = (np.concatenate(column) for column in (places, features, values))
    order = np.argsort(place, kind="stable")
    return place[order], feature_column[order], value[order]


def _decoder(rng: np.random.Generator, n_features: int, n_tokens: int, k: int = 10, t: int = 12) -> DecoderTables:
    directions = rng.normal(size=(n_features, 32))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    cosine = directions @ directions.T
    np.fill_diagonal(cosine, -2)
    near = np.argsort(-cosine, axis=1)[:, :k]
    logits = (directions @ rng.normal(size=(32, n_tokens)) / 8).astype(np.float32)
    order = np.argsort(-logits, axis=1)
    edges = np.linspace(logits.min(), logits.max(), 41).astype(np.float32)
    return DecoderTables(
        decoder_norm=np.ones(n_features, np.float32),
        encoder_decoder_cosine=rng.uniform(0.4, 0.95, n_features).astype(np.float32),
        neighbours=near.astype(np.int32),
        neighbour_cosine=np.take_along_axis(cosine, near, 1).astype(np.float32),
        promoted=order[:, :t].astype(np.int32),
        promoted_logit=np.take_along_axis(logits, order[:, :t], 1),
        suppressed=order[:, : -t - 1 : -1].astype(np.int32),
        suppressed_logit=np.take_along_axis(logits, order[:, : -t - 1 : -1], 1),
        logit_histogram_edges=edges,
        logit_histogram=np.stack([np.histogram(row, edges)[0] for row in logits]).astype(np.int32),
    )


def build(workspace: Path, seed: int = 0, sae: str = SAE, corpus: str = CORPUS, contexts_per_block: int = 64) -> Path:
    """Build the index of a workspace, going on where a killed run stopped, and put it into the catalogue."""
    data = Synthetic(seed)
    identifier = index_id(sae, corpus)
    writer = IndexWriter(staging_folder(workspace, identifier), data.n_features, LENGTH, data.provenance)
    for block in data.blocks(contexts_per_block, writer.n_contexts):
        writer.add(block)
    path = writer.finish(indexes_folder(workspace), identifier, data.documents, data.vocabulary, data.decoder)
    catalog = Catalog(workspace)
    catalog.put("corpus", corpus, {"documents": len(data.documents), "sha256": "2" * 64})
    catalog.put("sae", sae, {"model": "demo", "hook_point": "blocks.2.hook_resid_post", "d_in": 32, "n_latents": 300})
    catalog.put("index", identifier, {"sae_id": sae, "corpus_id": corpus, "file": path.name})
    return path


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
