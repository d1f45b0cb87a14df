"""One feature as a page shows it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store.annotations import Annotations, Note
from store.errors import StoreError
from store.example import Attribution, Band, Example, Negative
from store.explanation import Explanation
from store.halfs import to_float
from store.html import feature_html
from store.index import Index
from store.known import Head, Histogram, InDocument, Logit, Logits, Neighbour, Partner, Stats
from store.text import display_pieces
from store.weights import decoder_row, nearest_rows
from store.workspace import split_index_id

MEASURES = ("jaccard", "pmi", "pearson")
RANDOM_BAND = -1
"""The band of random examples in the table `example`."""


class Feature:
    """One feature of one index. Everything is read when first asked for."""

    def __init__(self, index: Index, feature: int) -> None:
        """Raises StoreError if the index has no such feature."""
        if not 0 <= feature < index.n_features:
            raise StoreError(f"{index.id} has no feature {feature}; it has 0 to {index.n_features - 1}")
        self.index, self.feature = index, int(feature)

    @cached_property
    def stats(self) -> Stats:
        """Its statistics."""
        row = self.index.kept.rows("feature", self.feature)
        values = {field.name: row[field.name][0].as_py() for field in fields(Stats)}
        return Stats(**{**values, "q": dict(zip(self.index.meta["quantiles"], values["q"], strict=False))})

    def top(self, n: int = 20) -> list[Example]:
        """The strongest examples (20 at most are kept), one per context and per different text around the peak."""
        rows = self.index.kept.rows("strongest", self.feature).slice(0, max(int(n), 0))
        flat = (rows[name].to_numpy().tolist() for name in ("place", "half"))
        nested = (_lists(rows, name) for name in ("active", "halves", "tokens"))
        (places, halves), (active, active_halves, tokens) = flat, nested
        return self._shown(list(zip(places, halves, active, active_halves, [0] * len(rows), tokens, strict=True)))

    def quantile_examples(self, n_per_band: int = 5) -> list[Band]:
        """Examples from each band of its activations' ranks, strongest band first; 8 at most are kept per band."""
        edges = self.index.meta["bands"]
        numbers = range(1, len(edges))
        found = self._examples(tuple(numbers))
        bands = [
            Band(lo, hi, [example for example in found if example._band == i])
            for i, (lo, hi) in zip(numbers, _pairs(edges), strict=True)
        ]
        return [Band(band.lo, band.hi, _spread(band.examples, n_per_band)) for band in reversed(bands)]

    def random(self, n: int = 16) -> list[Example]:
        """Examples drawn uniformly from all its active tokens, the same in every build; 16 at most are kept."""
        return self._examples((RANDOM_BAND,), n)

    def negatives(self, n: int = 16) -> list[Negative]:
        """Hard negatives: strong examples of its neighbours, by decoder cosine and by co-activation, in whose whole
        context it is nowhere active; 16 at most are kept. None if there is no such text, as for many dense features.
        """
        sql = f"""SELECT neighbour, place, half FROM {self.index.table("negative")}
                  WHERE feature = ?::INTEGER ORDER BY rank LIMIT {max(int(n), 0)}"""
        rows = self.index.rows(sql, self.feature)
        examples = self._shown([(place, half, [], [], 0, None) for _, place, half in rows])
        return [Negative(row[0], example) for row, example in zip(rows, examples, strict=True)]

    def coactive(self, by: Literal["jaccard", "pmi", "pearson"] = "jaccard", n: int = 16) -> list[Partner]:
        """The features most often active on the same tokens, strongest first; 16 at most are kept.

        Args:
            by: "jaccard", tokens of both over tokens of either; "pmi", pointwise mutual information in bits, of
                features that share at least 5 tokens; "pearson", correlation of the activations over all tokens.
            n: how many.

        Raises:
            StoreError: another measure.
        """
        if by not in MEASURES:
            raise StoreError(f"there is no co-activation by {by!r}; choose one of {', '.join(MEASURES)}")
        sql = f"""SELECT partner, value, together FROM {self.index.table("coactive")}
                  WHERE feature = ?::INTEGER AND measure = ? ORDER BY rank LIMIT {max(int(n), 0)}"""
        return [Partner(*row) for row in self.index.rows(sql, self.feature, by)]

    def documents(self) -> list[InDocument]:
        """Every document in which it is active, the one with the largest sum of activations first."""
        sql = f"""SELECT key - {self.feature * self.index.n_places} AS place, half
                  FROM {self.index.table("by_feature")} WHERE feature = {self.feature}"""
        found = self.index.cursor().execute(sql).fetchnumpy()
        place, half = np.asarray(found["place"]), np.asarray(found["half"])
        if len(place) == 0:
            return []
        value = to_float(half).astype(np.float64)
        document, group = np.unique(self.index.documents_of(place), return_inverse=True)
        counts, sums = np.bincount(group), np.bincount(group, value)
        largest = np.zeros(len(document))
        np.maximum.at(largest, group, value)
        order = np.lexsort((document, -sums))
        names = self.index.documents
        return [InDocument(names[document[i]], int(counts[i]), float(sums[i]), float(largest[i])) for i in order]

    def histogram(self) -> Histogram:
        """Its activations in 30 equal bins from 0 to its largest; empty if it is dead."""
        row = self.index.kept.rows("histogram", self.feature)
        edges, counts = _list(row, "edges"), _list(row, "counts")
        if not counts.any():
            return Histogram(np.zeros(0, np.float32), np.zeros(0, np.int64))
        return Histogram(edges.astype(np.float32), counts.astype(np.int64))

    def logit_histogram(self) -> Histogram:
        """Its effect on the logits of the whole vocabulary, per unit of activation."""
        counts = _list(self.index.kept.rows("logit_histogram", self.feature), "counts")
        return Histogram(np.array(self.index.meta["logit_histogram_edges"], np.float32), counts.astype(np.int64))

    def neighbours(self, sae: str | None = None, n: int = 12) -> list[Neighbour]:
        """The features with the most similar decoder rows, most similar first.

        Args:
            sae: of which other SAE of the workspace, indexed or not; by default of its own, itself left out. Theirs are
                read from the weights when asked for.
            n: how many; of its own SAE as many are kept as `index.neighbours` says, by default 12.

        Raises:
            StoreError: there is no such SAE, its decoder rows are of another width, or weights are missing.
        """
        if sae not in (None, self.sae):
            row = decoder_row(self._workspace, self.sae, self.feature)
            return [Neighbour(*found) for found in nearest_rows(self._workspace, str(sae), row, n)]
        rows = self.index.kept.rows("neighbour", self.feature).slice(0, max(int(n), 0))
        return [Neighbour(*row) for row in _tuples(rows, "neighbour", "cosine")]

    def heads(self) -> list[Head]:
        """Of a feature of attention outputs (`hook_z`), the share of each head in its decoder row, largest first; of
        any other feature none (head attribution by weights, Kissane et al. 2024).
        """
        return [Head(*row) for row in _tuples(self.index.kept.rows("head", self.feature), "head", "share")]

    def attributions(self, n: int = 4) -> list[Attribution]:
        """Of a feature of attention outputs (`hook_z`), which tokens its strongest examples come from, the strongest
        example first; of any other feature none. As many are kept as `index.attributions` says, by default 4.
        """
        if not self.heads():
            return []
        sql = f"""SELECT sources, heads FROM {self.index.table("attribution")} WHERE feature = ?::INTEGER
                  ORDER BY rank LIMIT {max(int(n), 0)}"""
        rows = self.index.rows(sql, self.feature)
        return [
            Attribution(example, np.array(sources, np.float32), np.array(heads, np.float32))
            for example, (sources, heads) in zip(self.top(len(rows)), rows, strict=True)
        ]

    def logits(self) -> Logits:
        """The tokens it promotes and suppresses."""
        rows = _tuples(self.index.kept.rows("logit", self.feature), "sign", "token", "logit")
        found: dict[int, list[Logit]] = {1: [], -1: []}
        for (sign, token, value), text in zip(rows, self._texts([row[1] for row in rows]), strict=True):
            found[sign].append(Logit(token, text, value))
        return Logits(found[1], found[-1])

    def label(self) -> str | None:
        """People's own name for it, if somebody gave it one."""
        found = self._annotations.labels(self.sae).get(self.feature)
        return None if found is None else found.text

    def notes(self) -> list[Note]:
        """People's notes on it, oldest first."""
        return self._annotations.notes(self.sae, self.feature)

    def explanations(self) -> list[Explanation]:
        """What methods say it stands for, whichever corpus they looked at; best score first."""
        return self._annotations.explanations(self.sae, self.feature)

    def lists(self) -> list[str]:
        """The names of the lists it is on, sorted."""
        return self._annotations.lists_of(self.sae, self.feature)

    @property
    def sae(self) -> str:
        """Id of its SAE."""
        return split_index_id(self.index.id)[0]

    @property
    def _workspace(self) -> Path:
        return self.index.path.parent.parent

    @cached_property
    def _annotations(self) -> Annotations:
        return Annotations(self._workspace)

    def _texts(self, tokens: list[int]) -> list[str]:
        return [display_pieces([self.index.vocabulary[token]])[0] for token in tokens]

    @cached_property
    def _other_rows(self) -> list[tuple[Any, ...]]:
        """Its rows of `example` but for the strongest, in the table's order: by band and rank."""
        sql = f"SELECT place, half, active, halves, band, tokens FROM {self.index.table('example')}"
        return self.index.rows(f"{sql} WHERE feature = ?::INTEGER AND band <> 0", self.feature)

    def _examples(self, bands: Collection[int], n: int | None = None) -> list[Example]:
        """The examples of some bands, all but the strongest (band 0), or the first n."""
        rows = [row for row in self._other_rows if row[4] in bands]
        return self._shown(rows if n is None else rows[: max(int(n), 0)])

    def _shown(self, rows: list[tuple[Any, ...]]) -> list[Example]:
        """Rows of `example` with their text."""
        places, halves, active, active_halves, bands, tokens = zip(*rows, strict=True) if rows else [()] * 6
        before, after = self.index.meta["window"]
        windows = self.index.windows(places, before, after, tokens)
        positions = [place % self.index.context_length for place in places]
        ends = np.cumsum([len(window.tokens) for window in windows], dtype=np.int64).tolist()
        starts = [end - len(window.tokens) for end, window in zip(ends, windows, strict=True)]
        peaks = [position - window.start for position, window in zip(positions, windows, strict=True)]
        activations = np.zeros(ends[-1] if ends else 0, np.float32)
        at = [start + peak + step for start, peak, own in zip(starts, peaks, active, strict=True) for step in own]
        activations[at] = to_float(np.array([half for own in active_halves for half in own], np.int16))
        values = to_float(np.array(halves, np.int16)).tolist()
        return [
            Example(
                context=place // self.index.context_length,
                position=position,
                value=value,
                **window.__dict__,
                activations=activations[start:end],
                peak=peak,
                _band=band,
                _index=self.index,
                _activations=self._in_context,
            )
            for place, position, value, window, start, end, peak, band in zip(
                places, positions, values, windows, starts, ends, peaks, bands, strict=True
            )
        ]

    def _in_context(self, context: int) -> NDArray[np.float32]:
        """float32[context_length], its activations in one context."""
        length = self.index.context_length
        low = self.feature * self.index.n_places + context * length
        sql = f"""SELECT key - {low}, half FROM {self.index.table("by_feature")}
                  WHERE feature = {self.feature} AND key BETWEEN {low} AND {low + length - 1}"""
        out = np.zeros(length, np.float32)
        for position, half in self.index.rows(sql):
            out[position] = to_float(np.array([half], np.int16))[0]
        return out

    def _repr_html_(self) -> str:
        return feature_html(self)

    def __repr__(self) -> str:
        s = self.stats
        return (
            f"<Feature {self.feature} of {self.index.id}: density {s.density:.2e}, max {s.max_activation:.3g}, "
            f"mostly on {s.top_token!r}, promotes {', '.join(map(repr, s.promoted[:5]))}>"
        )


def _list(row: pa.RecordBatch, column: str) -> NDArray[Any]:
    """The list in a column of one row."""
    return _flat(row[column])


def _flat(lists: pa.ListArray) -> NDArray[Any]:
    """The elements of all lists; `flatten` does the same through the machinery of pyarrow's compute functions."""
    bounds = lists.offsets
    return lists.values[bounds[0].as_py() : bounds[-1].as_py()].to_numpy()


def _lists(rows: pa.RecordBatch, column: str) -> list[list[int]]:
    """The lists in a column; through NumPy, ten times faster than one by one."""
    if not len(rows):
        return []
    lists = rows[column]
    values, bounds = _flat(lists).tolist(), lists.offsets.to_numpy()
    return [values[start:stop] for start, stop in pairwise((bounds - bounds[0]).tolist())]


def _tuples(rows: pa.RecordBatch, *columns: str) -> list[tuple[Any, ...]]:
    """Some columns row by row."""
    return list(zip(*(rows[column].to_numpy().tolist() for column in columns), strict=True))


def _pairs(edges: list[float]) -> list[tuple[float, float]]:
    return list(pairwise(edges))


def _spread(examples: list[Example], n: int) -> list[Example]:
    """n of them, evenly spread over their order."""
    if n >= len(examples):
        return examples
    return [examples[i * len(examples) // n] for i in range(n)]
