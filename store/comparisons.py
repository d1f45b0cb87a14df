"""Comparisons of two SAEs, kept: what `FeatureStore.compare` finds in seconds or minutes is read again at once.

A comparison belongs to the two indexes it was made of, whose content is in its folder's name,
`comparisons/<content of a>.<content of b>.<threshold>/`: an index made anew is compared anew.
"""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from store.errors import explained
from store.files import sync
from store.index import Index

TABLES = ("a", "b", "pairs")
"""The tables of `store.counterparts.compared`, in its order."""


def comparison_folder(workspace: Path, a: Index, b: Index, threshold: float) -> Path:
    """Where the comparison of two indexes lies, or would lie."""
    contents = [index.path.stem.rpartition(".")[2] for index in (a, b)]
    return workspace / "comparisons" / f"{contents[0]}.{contents[1]}.{threshold:g}"


def read_comparison(folder: Path) -> tuple[pa.Table, ...] | None:
    """The tables of a comparison; None if it has not been made.

    Raises:
        StoreError: they cannot be read.
    """
    if not folder.is_dir():
        return None
    with explained("cannot read", folder):
        return tuple(pq.read_table(folder / f"{name}.parquet") for name in TABLES)


def write_comparison(folder: Path, tables: tuple[pa.Table, ...]) -> None:
    """Keep the tables of a comparison: all of them or none.

    Raises:
        StoreError: they cannot be written.
    """
    temporary = folder.with_name(folder.name + ".tmp")
    with explained("cannot write", folder):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, table in zip(TABLES, tables, strict=True):
            pq.write_table(table, temporary / f"{name}.parquet", compression="zstd")
            sync(temporary / f"{name}.parquet")
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
        sync(folder.parent)
