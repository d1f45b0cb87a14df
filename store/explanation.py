"""What a method says a feature stands for, as a row of the catalogue."""

import json
import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from store.errors import StoreError
from store.fields import checked_feature, checked_text, now, stored_time
from store.workspace import check_id

KEY = ("sae", "corpus", "feature", "method", "version", "scorer")
"""No two stored explanations are alike in all of these."""


@dataclass(frozen=True)
class Explanation:
    """What a method says a feature stands for, and how well that holds.

    Attributes:
        sae, corpus, feature: what is explained, by which corpus' examples.
        method, version: what wrote the text.
        text: the explanation.
        score: how well it predicts the feature, larger is better; None if nobody looked. scorer: what gave the score;
            split: of which contexts, so that a reader sees that they were not those explained.
        made_at: UTC; None when it is added means now.
        info: whatever else the method has to say, as JSON.
    """

    sae: str
    corpus: str
    feature: int
    method: str
    version: str
    text: str
    score: float | None = None
    scorer: str | None = None
    split: str | None = None
    made_at: datetime | None = None
    info: dict[str, Any] = field(default_factory=dict)


EXPLANATIONS = pa.schema([
    ("sae", pa.string()),
    ("corpus", pa.string()),
    ("feature", pa.int32()),
    ("method", pa.string()),
    ("version", pa.string()),
    ("text", pa.string()),
    ("score", pa.float64()),
    ("scorer", pa.string()),
    ("split", pa.string()),
    ("made_at", pa.timestamp("us")),
    ("info", pa.string()),
])  # fmt: skip
"""The columns of the table `explanation`."""


def explanation_row(row: Explanation) -> dict[str, Any]:
    """What is stored of an explanation, checked."""
    where = f"explanation of feature {row.feature} of {row.sae} by {row.method}"
    if row.score is not None and not math.isfinite(row.score):
        raise StoreError(f"{where}: the score is {row.score}; leave it out (None) where there is none")
    try:
        info = json.dumps(row.info, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StoreError(f"{where}: info must be JSON ({error})") from None
    return {
        "sae": check_id(row.sae),
        "corpus": check_id(row.corpus),
        "feature": checked_feature(row.feature),
        "method": checked_text(row.method, "a method"),
        "version": checked_text(row.version, "a version"),
        "text": checked_text(row.text, f"{where}: its text"),
        "score": row.score,
        "scorer": row.scorer,
        "split": row.split,
        "made_at": now() if row.made_at is None else stored_time(row.made_at),
        "info": info,
    }
