"""SAEs of other libraries: read as ours, ours written as theirs; the SAE itself knows of none.

Each format is a file with two pure functions, `from_x(config, tensors)` and `to_x(sae)`; `registry` lists them.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

from saebench.saes.formats import source
from saebench.saes.formats.registry import FORMATS, detect, held
from saebench.saes.sae import SAE

__all__ = ["FORMATS", "Checkpoint", "detect", "load", "read", "save"]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read: the SAE, in `eval`, and what its user should know."""

    sae: SAE
    format: str
    notes: tuple[str, ...]


def read(path: Path | str, format: str | None = None) -> Checkpoint:
    """The checkpoint in a folder or file, of the given format or the one its files tell.

    Raises ValueError, in one line that names the file and the tensor or key, for a checkpoint that is damaged, does not
    fit together or has no counterpart here.
    """
    path = Path(path)
    name = detect(path) if format is None else _known(format)
    try:
        sae, notes = FORMATS[name].read(path)
    except ValueError as error:
        message = str(error)
        raise ValueError(message if str(path) in message else f"{path}: {message}") from None
    return Checkpoint(sae.eval(), name, tuple(notes))


def load(path: Path | str, format: str | None = None) -> SAE:
    """The SAE of a checkpoint, in `eval`; notes for its user are warnings. Raises ValueError as `read` does."""
    checkpoint = read(path, format)
    for note in checkpoint.notes:
        warnings.warn(f"{path}: {note}", stacklevel=2)
    return checkpoint.sae


def save(sae: SAE, path: Path | str, format: str, replace: bool = False) -> None:
    """Write an SAE as a folder of a format.

    Raises ValueError for what the format cannot express, where another file is in the way unless `replace`d, and where
    the folder holds a checkpoint of another format; OSError.
    """
    known = FORMATS[_known(format)]
    if known.contents is None:
        raise ValueError(f"saebench reads {known.library} checkpoints but writes none; write it as saelens")
    if others := [name for name in held(Path(path)) if name != format]:
        raise ValueError(f"{path} already holds a checkpoint of {', '.join(others)}; choose another folder")
    source.place(Path(path), known.contents(sae), replace)


def _known(format: str) -> str:
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}; there are {', '.join(FORMATS)}")
    return format
