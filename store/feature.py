"""One feature as a page shows it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store.annotations import Annotations, Note
from store.errors import StoreError
from store.explanation import Explanation
from store.halfs import to_float
from store.html import attribution_html, example_html, feature_html
from store.index import Context, Index
from store.text import display_pieces
from store.weights import decoder_row, nearest_rows
from store.workspace import split_index_id

MEASURES = ("jaccard", "pmi", "pearson")
RANDOM_BAND = -1
"""The band of random examples in the table `example`."""


class Neighbour(NamedTuple):
    """A feature with a similar decoder direction."""

    feature: int
    cosine: float
    """Cosine between the two decoder rows."""


class Head(NamedTuple):
    """An attention head behind a feature."""

    head: int
    share: float
    """Norm of the head's slice of the decoder row, over the sum of these norms."""


class Logit(NamedTuple):
    """What a feature does to one token's logit."""

    token: int
    text: str
    value: float
    """Logit per unit of activation."""


class Logits(NamedTuple):
    """The tokens that a feature raises and lowers most, strongest first."""

    promoted: list[Logit]
    suppressed: list[Logit]


class Histogram(NamedTuple):
    """counts[i] is how many fall between edges[i] and edges[i + 1]; one more edge than counts, or neither."""

    edges: NDArray[np.float32]
    counts: NDArray[np.int64]


class Band(NamedTuple):
    """Examples drawn evenly from the activations between two quantiles."""

    lo: float
    hi: float
    """Shares of the feature's own activations, weakest 0, strongest 1."""
    examples: list[Example]


@dataclass(frozen=True)
class Stats:
    """A feature's statistics over ordinary tokens of the corpus; those of activations are zero if it is dead.

    Attributes:
        n_active: tokens on which it is active; density: their share of all tokens.
        n_documents, documents_share: documents in which it is active.
        mean: mean activation over active tokens; max_activation: the largest.
        q: quantiles of its activations by share (nearest rank), empty if dead.
        top_token: the token that carries most of its activation (None if dead), top_token_id (-1), top_token_share:
            how much of it.
        promoted, suppressed: texts of the tokens whose logits it raises and lowers most.
        dead: never active; dense: active on more than 10% of tokens; duplicate: another decoder row has a cosine above
            0.9; position_locked: at least half of its (20 or more) active tokens lie at one position in the context;
            bos_only: at least 95% of its active tokens are the first ordinary token of a context.
    """

    feature: int
    n_active: int
    density: float
    n_documents: int
    documents_share: float
    mean: float
    max_activation: float
    q: dict[float, float]
    top_token: str | None
    top_token_id: int
    top_token_share: float
    decoder_norm: float
    encoder_decoder_cosine: float
    promoted: list[str]
    suppressed: list[str]
    dead: bool
    dense: bool
    duplicate: bool
    position_locked: bool
    bos_only: bool


class Partner(NamedTuple):
    """A feature that is active on the same tokens."""

    feature: int
    value: float
    """By the measure asked for: Jaccard index, PMI in bits or Pearson correlation."""
    together: int
    """Tokens on which both are active."""


class InDocument(NamedTuple):
    """A feature in one document."""

    document: str
    n_active: int
    """Tokens of the document on which it is active."""
    total: float
    """Sum of its activations there."""
    largest: float


class Negative(NamedTuple):
    """A text on which a similar feature is strong and this one is silent."""

    neighbour: int
    example: Example
    """Of the neighbour: its peak and its value there; `activations` are this feature's, all zero."""


@dataclass(frozen=True, eq=False)
class Example:
    """A place where a feature is active, with the text around it.

    Attributes:
        context, position: where the peak is; value: the activation there.
        document: name.
        start: position in the context of the window's first token.
        tokens, pieces, special, activations: the window, token by token: ids, source bytes (of special tokens their
            name), which are special, float32 activations.
        peak: index of the peak in the window.
    """

    context: int
    position: int
    value: float
    document: str
    start: int
    tokens: list[int]
    pieces: list[bytes]
    special: list[bool]
    activations: NDArray[np.float32]
    peak: int
    _band: int
    _index: Index
    _activations: Callable[[int], NDArray[np.float32]]

    @property
    def text(self) -> list[str]:
        """One string per token of the window, for showing (see `store.text.display_pieces`)."""
        return display_pieces(self.pieces)

    @property
    def byte(self) -> int:
        """Where in the document the peak token begins, in bytes."""
        return self._index.byte_of(self.context * self._index.context_length + self.position)

    def whole(self) -> Example:
        """The same example with its whole context instead of a window."""
        context: Context = self._index.context(self.context)
        changed = {"start": 0, "peak": self.position, "activations": self._activations(self.context)}
        texts = {"tokens": context.tokens, "pieces": context.pieces, "special": context.special}
        return Example(**{**self.__dict__, **changed, **texts})

    def _repr_html_(self) -> str:
        return example_html(self)

    def __repr__(self) -> str:
        text = self.text
        left, right = "".join(text[: self.peak]), "".join(text[self.peak + 1 :])
        return f"<{self.value:.3g} {self.document}: {left!r} →{text[self.peak]!r}← {right!r}>"


class Source(NamedTuple):
    """A token that an attention feature's activation comes from."""

    position: int
    """In the context."""
    text: str
    value: float
    """What it adds to the pre-activation."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """Where an activation of an attention feature comes from: through which heads, and from which tokens (direct
    feature attribution with the attention patterns taken as given; Kissane et al. 2024).

    Attributes:
        example: the strong example that is explained.
        sources: float32[position + 1], what each token of the context up to the example's adds to the pre-activation.
        heads: float32[heads], what each head adds. Both sum to the pre-activation but for the SAE's biases.
    """

    example: Example
    sources: NDArray[np.float32]
    heads: NDArray[np.float32]

    @property
    def total(self) -> float:
        """The pre-activation but for the SAE's biases."""
        return float(self.sources.sum(dtype=np.float64))

    @property
    def before_window(self) -> float:
        """What the tokens before the example's window add."""
        return float(self.sources[: self.example.start].sum(dtype=np.float64))

    def strongest(self, n: int = 5) -> list[Source]:
        """The tokens that add or take away most, whichever is larger first; the earlier if tied."""
        order = np.argsort(-np.abs(self.sources), kind="stable")[: max(int(n), 0)].tolist()
        text = self.example.whole().text
        return [Source(position, text[position], float(self.sources[position])) for position in order]

    def _repr_html_(self) -> str:
        return attribution_html(self)

    def __repr__(self) -> str:
        said = ", ".join(f"{source.text!r} {source.value:+.3g}" for source in self.strongest())
        return f"<{self.total:.3g} at {self.example.document}, byte {self.example.byte:,}: {said}>"


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
