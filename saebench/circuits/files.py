"""Circuits on the disk: `circuits/<id>.json` in a workspace, each whole or not there; `circuits/.work/<id>/` holds what
an unfinished discovery has done so far."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from saebench.circuits.graph import Circuit
from saebench.shelf import Shelf

_SHELF = Shelf("circuits", Circuit, "circuit", "no circuit: {}; delete it and find the circuit again")


def circuits_folder(workspace: Path) -> Path:
    """Where the circuits of a workspace lie."""
    return _SHELF.folder(workspace)


def circuit_path(workspace: Path, circuit_id: str) -> Path:
    """The file of a circuit. Raises StoreError for an id that can name none."""
    return _SHELF.path(workspace, circuit_id)


def work_folder(workspace: Path, circuit_id: str) -> Path:
    """Where a discovery keeps what it has done so far. Raises StoreError for an id that can name none."""
    return _SHELF.work(workspace, circuit_id)


def circuit_ids(workspace: Path) -> list[str]:
    """The circuits of a workspace, sorted."""
    return _SHELF.ids(workspace)


def read_circuit(workspace: Path, circuit_id: str) -> Circuit:
    """A circuit of a workspace.

    Raises:
        UserError: there is none of this name, or its file is damaged.
        StoreError: an id that can name none.
    """
    with _uncollected():
        return _SHELF.read(workspace, circuit_id)


def write_circuit(workspace: Path, circuit: Circuit) -> Path:
    """Keep a circuit under its id, instead of one that is there. Raises UserError where it cannot be written."""
    return _SHELF.write(workspace, circuit.id, circuit)


def delete_circuit(workspace: Path, circuit_id: str) -> None:
    """Take a circuit away for good, damaged or not. What an unfinished discovery of it has done so far stays.

    Raises:
        UserError: there is none of this name, or it cannot be removed.
        StoreError: an id that can name none.
    """
    _SHELF.delete(workspace, circuit_id)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection, which would look again and again through the 100,000 objects of a large circuit that
    are all kept: in a process as large as the dashboard's it takes twice as long as reading them.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:  # of several threads that read at once, the first turns it on again
            gc.enable()
