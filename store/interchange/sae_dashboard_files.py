"""SAEDashboard's batch files, read and checked (keys as in sae_dashboard 0.8; what is not used here may be missing)."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store.errors import StoreError, explained
from store.halfs import LARGEST

MOST_FEATURES = 1 << 25
"""Twice as many as the largest SAE there is (OpenAI's of 16 million): a larger number is a mistake."""
_BATCH = re.compile(r"batch-(\d+)\.json")


@dataclass(frozen=True)
class Sequence:
    """One example: its tokens as text, and the feature's activation at each."""

    tokens: list[str]
    values: list[float]


@dataclass(frozen=True)
class Described:
    """What a file says of one feature.

    Attributes:
        sequences: its examples, no two alike.
        promoted, suppressed: tokens and their logits, strongest first.
        logit_bars: middles and heights of the histogram of its logits.
    """

    feature: int
    sequences: list[Sequence]
    promoted: list[tuple[str, float]]
    suppressed: list[tuple[str, float]]
    logit_bars: tuple[list[float], list[float]]


@dataclass(frozen=True)
class Batch:
    """One file: `head` has its keys but `features`; `dataset`, `n_prompts_total` and `n_tokens_in_prompt` are the first
    feature's.
    """

    path: Path
    head: dict[str, Any]
    features: list[Described]


def batch_files(source: Path) -> list[Path]:
    """The file given, or the `batch-*.json` of a folder in the order of their numbers.

    Raises:
        StoreError: there is none.
    """
    if source.is_file():
        return [source]
    numbered = [(int(match[1]), path) for path in source.glob("batch-*.json") if (match := _BATCH.fullmatch(path.name))]
    if not numbered:
        raise StoreError(
            f"{source} has no batch-0.json, batch-1.json, …; name SAEDashboard's output folder or one file"
        )
    return [path for _, path in sorted(numbered)]


def read_batch(path: Path) -> Batch:
    """One file.

    Raises:
        StoreError: it is no JSON or was cut short, a key is missing or of another type, a number is not finite,
            negative or too large; says where.
    """
    with explained("cannot read", path):
        data = path.read_bytes()
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is no JSON ({error}); was it cut short? copy or make it again") from None
    reader = _Reader(path)
    rows = reader.get(whole, "the file", "features", list)
    head = {key: reader.get(whole, "the file", key, kind) for key, kind in _HEAD.items()}
    first = rows[0] if rows and isinstance(rows[0], dict) else {}
    head |= {key: first.get(key) for key in ("dataset", "n_prompts_total", "n_tokens_in_prompt")}
    return Batch(path, head, [reader.feature(row, number) for number, row in enumerate(rows)])


_HEAD: dict[str, type | tuple[type, ...]] = {"model_id": str, "layer": int, "sae_set": str}


@dataclass(frozen=True)
class _Reader:
    """Takes values of the right type out of a file, or says where there are none."""

    path: Path

    def wrong(self, where: str, what: str) -> StoreError:
        return StoreError(f"{self.path}: {where} {what}; make the file again with SAEDashboard")

    def get(self, row: Any, where: str, key: str, kind: type | tuple[type, ...]) -> Any:
        if not isinstance(row, dict):
            raise self.wrong(where, "is no JSON object")
        if key not in row:
            raise self.wrong(where, f"has no {key!r}")
        if not isinstance(row[key], kind) or isinstance(row[key], bool):
            raise self.wrong(where, f"has a {key!r} of another type than SAEDashboard's")
        return row[key]

    def feature(self, row: Any, number: int) -> Described:
        feature = self.get(row, f"entry {number} of features", "feature_index", int)
        where = f"feature {feature}"
        if not 0 <= feature < MOST_FEATURES:
            raise self.wrong(where, f"has a number outside 0 … {MOST_FEATURES - 1:,}")
        rows = self.get(row, where, "activations", list)
        sequences = list(self.sequences(rows, where))
        names = ("logits_hist_data_bar_values", "logits_hist_data_bar_heights")
        middles, heights = (self.numbers(row, where, name) for name in names)
        if len(middles) != len(heights):
            raise self.wrong(where, f"has {len(middles)} middles and {len(heights)} heights of its logits' histogram")
        promoted, suppressed = (self.logits(row, where, sign) for sign in ("pos", "neg"))
        return Described(feature, sequences, promoted, suppressed, (middles, heights))

    def sequences(self, rows: list[Any], where: str) -> Iterator[Sequence]:
        """The examples; those drawn twice, for instance as strongest and for an interval, once."""
        seen = set()
        for number, row in enumerate(rows):
            here = f"example {number} of {where}"
            tokens, values = self.texts(row, here, "tokens"), self.numbers(row, here, "values")
            if len(tokens) != len(values):
                raise self.wrong(here, f"has {len(tokens)} tokens and {len(values)} values")
            if not tokens:
                raise self.wrong(here, "has no tokens")
            if min(values) < 0 or max(values) > LARGEST:
                raise self.wrong(here, f"has an activation below 0 or above {LARGEST:.0f}, which no index can hold")
            key = (tuple(tokens), tuple(values))
            if key not in seen:
                seen.add(key)
                yield Sequence(tokens, values)

    def logits(self, row: Any, where: str, sign: str) -> list[tuple[str, float]]:
        texts, values = self.texts(row, where, f"{sign}_str"), self.numbers(row, where, f"{sign}_values")
        if len(texts) != len(values):
            raise self.wrong(where, f"has {len(texts)} texts and {len(values)} values of {sign}_str")
        return list(zip(texts, values, strict=True))

    def texts(self, row: Any, where: str, key: str) -> list[str]:
        found = self.get(row, where, key, list)
        for text in found:
            if not isinstance(text, str):
                raise self.wrong(where, f"has a {key!r} with something else than texts")
            try:
                text.encode()
            except UnicodeEncodeError:
                raise self.wrong(where, f"has a {key!r} with invalid Unicode") from None
        return found

    def numbers(self, row: Any, where: str, key: str) -> list[float]:
        found = self.get(row, where, key, list)
        for value in found:
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise self.wrong(where, f"has a {key!r} with something else than numbers")
            if not math.isfinite(value):
                raise self.wrong(where, f"has {value} in {key!r}")
        return found
