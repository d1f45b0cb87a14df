"""Where documents come from: the standard library, local files, hub datasets."""

import itertools
import json
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from saebench.config import CorpusConfig
from saebench.corpus.stdlib import split_of, stdlib_files
from saebench.errors import UserError

TEXT_SUFFIXES = frozenset({".txt", ".md", ".py", ".rst"})
TABLE_SUFFIXES = frozenset({".jsonl", ".parquet"})


@dataclass(frozen=True)
class Document:
    """One text with a name that finds it again."""

    name: str
    text: str


def read_documents(config: CorpusConfig) -> Iterator[Document]:
    """The corpus' documents in a fixed order, after `skip_documents`; raises as `all_documents`."""
    return itertools.islice(all_documents(config), config.skip_documents, None)


def all_documents(config: CorpusConfig) -> Iterator[Document]:
    """The corpus' documents in a fixed order: local ones shuffled by `config.seed`, hub ones as they stream.

    Raises:
        UserError: unknown corpus, missing column, unreadable file.
    """
    if config.name.startswith("stdlib-"):
        split = config.name.removeprefix("stdlib-")
        if split not in ("train", "heldout"):
            raise UserError(f"unknown corpus {config.name!r}; the standard library has stdlib-train and stdlib-heldout")
        files = [path for module, path in stdlib_files() if split_of(module) == split]
        return shuffled_files(files, Path(sysconfig.get_path("stdlib")), config)
    if (path := Path(config.name)).exists():
        suffixes = TEXT_SUFFIXES | TABLE_SUFFIXES
        files = sorted(p for p in path.rglob("*") if p.suffix in suffixes) if path.is_dir() else [path]
        return shuffled_files(files, path if path.is_dir() else path.parent, config)
    if config.name.startswith((".", "/", "~")) or Path(config.name).suffix in TEXT_SUFFIXES | TABLE_SUFFIXES:
        raise UserError(f"corpus {config.name!r} does not exist; give a file, a folder or a hub dataset")
    return hub_documents(config)


def shuffled_files(files: list[Path], root: Path, config: CorpusConfig) -> Iterator[Document]:
    """Documents of local files, in an order drawn by `config.seed` so that a prefix is a fair sample."""
    order = np.random.default_rng(config.seed).permutation(len(files))
    for path in (files[index] for index in order):
        name = path.relative_to(root).as_posix()
        if path.suffix in TABLE_SUFFIXES:
            yield from table_documents(path, name, config.text_field)
        else:
            yield Document(name, read_text(path))


def read_text(path: Path) -> str:
    """A text file as UTF-8; bytes that are not UTF-8 become U+FFFD rather than losing the file."""
    try:
        return path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


def table_documents(path: Path, name: str, text_field: str) -> Iterator[Document]:
    """One document for each row of a JSONL or Parquet file, named `file#row`."""
    for number, row in enumerate(jsonl_rows(path) if path.suffix == ".jsonl" else parquet_rows(path, text_field)):
        if not isinstance(row, dict) or text_field not in row:
            columns = ", ".join(row) if isinstance(row, dict) else type(row).__name__
            raise UserError(f"{path} row {number} has no {text_field!r} (it has: {columns}); set corpus.text_field")
        yield Document(f"{name}#{number}", str(row[text_field]))


def jsonl_rows(path: Path) -> Iterator[Any]:
    """The values of a JSON Lines file; empty lines are passed over."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as error:
                    raise UserError(f"{path} line {number} is not JSON: {error.msg}") from None


def parquet_rows(path: Path, column: str) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, one column, read in batches."""
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a readable Parquet file: {error}") from None
    if column not in file.schema_arrow.names:
        columns = ", ".join(file.schema_arrow.names)
        raise UserError(f"{path} has no column {column!r} (it has: {columns}); set corpus.text_field")
    for batch in file.iter_batches(columns=[column]):
        yield from batch.to_pylist()


def hub_documents(config: CorpusConfig) -> Iterator[Document]:
    """Rows of a hub dataset, streamed: nothing is downloaded beyond what is read."""
    import datasets

    try:
        rows = datasets.load_dataset(config.name, config.subset, split=config.split, streaming=True)
    except Exception as error:  # the library raises its own, requests', and built-in errors here
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"cannot open hub dataset {config.name!r}: {reason}") from None
    for number, row in enumerate(rows):
        if config.text_field not in row:
            raise UserError(
                f"dataset {config.name!r} has no column {config.text_field!r} (it has: {', '.join(row)}); "
                "set corpus.text_field"
            )
        yield Document(f"{config.name}#{number}", row[config.text_field])
