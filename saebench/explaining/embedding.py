"""Embedding score: is an explanation nearer to the texts in which the feature is active than to the others?

After Paulo, Mallen, Juang and Belrose (2024): a sentence encoder embeds the explanation, as a query, and the examples;
the score is the area under the ROC curve of their cosine similarities, .5 for chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from saebench.errors import UserError
from saebench.explaining.windows import Window

QUERY = "Instruct: Retrieve texts that the explanation fits.\nQuery: "


class Encoder(Protocol):
    """What is used of a SentenceTransformer."""

    def encode(self, sentences: list[str], **options: Any) -> Float[np.ndarray, "n d"]:
        """One vector per sentence."""


def load_encoder(name: str | None) -> Encoder:
    """A sentence encoder from a folder or by its hub name.

    Raises:
        UserError: none is named, the optional packages are missing, or there is no such encoder.
    """
    if name is None:
        raise UserError("the embedding score needs a sentence encoder; name one with --set explain.encoder=FOLDER")
    folder = Path(name).expanduser()
    if name.startswith((".", "/", "~")) and not folder.is_dir():
        raise UserError(f"sentence encoder folder {name!r} does not exist")
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise UserError("the embedding score needs sentence-transformers: pip install 'saebench[explain]'") from None
    try:
        return SentenceTransformer(str(folder) if folder.is_dir() else name)
    except Exception as error:  # the hub, transformers and torch each raise their own kinds
        raise UserError(f"cannot open sentence encoder {name!r}: {' '.join(str(error).split())[:200]}") from None


def auc(encoder: Encoder, explanation: str, positives: Sequence[Window], negatives: Sequence[Window]) -> float | None:
    """Share of (positive, negative) pairs in which the positive is nearer to the explanation; ties count half.

    None without an example of each kind.
    """
    if not positives or not negatives:
        return None
    from sklearn.metrics import roc_auc_score  # here, so that the other commands do not wait for it

    texts = [QUERY + explanation, *(window.plain for window in (*positives, *negatives))]
    vectors = np.asarray(encoder.encode(texts, show_progress_bar=False), np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    truth = np.repeat([1, 0], [len(positives), len(negatives)])
    return float(roc_auc_score(truth, vectors[1:] @ vectors[0]))
