"""What the finaliser's helper processes compute, while it writes: sorting the codes, and tables of runs of features.

Decisions: DuckDB writes with one thread, so that equal content gives equal bytes; everything else is cut into runs of
features and computed beside it in other processes (NumPy's and SciPy's counting loops hold the interpreter's lock).
How the features are cut and who computes them changes no row.
"""

import ctypes
import signal
import sys
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from store import statistics
from store.blocks import DecoderTables
from store.coactivation import by_token, partner_table
from store.examples import choose, example_table
from store.positions import Positions, open_positions
from store.sorting import SortedCodes, open_codes
from store.tables import feature_tables
from store.text import readable

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Task:
    """Where the files are that a helper reads, and the counts of the corpus.

    Attributes:
        scratch: folder with the sorted codes and the positions; inputs: the staged tables (`inputs.npz`).
        length: tokens per context; n_tokens: ordinary tokens; n_documents: documents with ordinary tokens.
    """

    scratch: Path
    inputs: Path
    length: int
    n_tokens: int
    n_documents: int


@dataclass(frozen=True)
class _Opened:
    codes: SortedCodes
    rows: csr_matrix
    positions: Positions
    decoder: DecoderTables
    text: NDArray[np.object_]


def die_with_parent() -> None:
    """On Linux, end when the process that started this one is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@cache
def _opened(task: Task) -> _Opened:
    inputs = dict(np.load(task.inputs, allow_pickle=False))
    text = np.array([readable(piece) for piece in vocabulary_of(inputs)] + [None], dtype=object)
    codes = open_codes(task.scratch)
    positions = open_positions(task.length, task.scratch)
    return _Opened(codes, by_token(codes), positions, decoder_of(inputs), text)


def decoder_of(inputs: dict[str, NDArray[Any]]) -> DecoderTables:
    """The staged tables of the decoder."""
    return DecoderTables(**{field.name: inputs[field.name] for field in fields(DecoderTables)})


def vocabulary_of(inputs: dict[str, NDArray[Any]]) -> list[bytes]:
    """The staged bytes of every token id."""
    data, ends = inputs["vocabulary"].tobytes(), np.cumsum(inputs["vocabulary_lengths"])
    return [data[end - width : end] for end, width in zip(ends, inputs["vocabulary_lengths"], strict=True)]


def describe(task: Task, first: int, n: int) -> dict[str, Path]:
    """Files with the rows of `feature`, `histogram` and `example` of n features."""
    opened = _opened(task)
    bounds = opened.codes.bounds[first : first + n + 1]
    own = slice(bounds[0], bounds[-1])
    places, halves = np.array(opened.codes.places[own]), np.array(opened.codes.halves[own])
    codes = statistics.gather(first, bounds - bounds[0], places, halves)
    feature, histogram = feature_tables(
        codes, opened.positions, task.n_tokens, task.n_documents, opened.text, opened.decoder
    )
    examples = example_table(codes, choose(codes, opened.positions), opened.positions)
    tables = {"feature": feature, "histogram": histogram, "example": examples}
    return {name: _leave(rows, task.scratch / f"{name}-{first}") for name, rows in tables.items()}


def partners(task: Task, first: int, n: int) -> dict[str, Path]:
    """A file with the rows of `coactive` of n features."""
    opened = _opened(task)
    rows = partner_table(opened.codes, opened.rows, range(first, first + n), task.n_tokens)
    return {"coactive": _leave(rows, task.scratch / f"coactive-{first}")}


def _leave(rows: pa.Table, path: Path) -> Path:
    """On the disk, since the writer may come to it much later, when there are hundreds of them."""
    with pa.ipc.new_file(path, rows.schema) as file:
        file.write_table(rows)
    return path


def taken(path: Path) -> pa.Table:
    """What a helper has left."""
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()
