"""An SAE on disk: `sae.safetensors` and `config.json` in one folder; nothing is ever unpickled.

Decisions: each file appears whole or not at all (temporary name, fsync, rename), the weights last: a folder with
`sae.safetensors` is complete. One metadata key only, because safetensors writes several in no fixed order.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

WEIGHTS = "sae.safetensors"
CONFIG = "config.json"
FORMAT = "saebench.sae"
VERSION = 1


def write_atomically(path: Path, data: bytes) -> None:
    """Write a whole file or nothing: temporary name in the same folder, fsync, rename. Raises OSError."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def contents(tensors: Mapping[str, Tensor], config: dict[str, Any]) -> dict[str, bytes]:
    """Both files by name, the weights last."""
    header = {"format": FORMAT, "version": VERSION}
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    return {
        CONFIG: (json.dumps(header | config, indent=2) + "\n").encode(),
        WEIGHTS: save(contiguous, {"saebench": json.dumps(header)}),
    }


def write(folder: Path, tensors: Mapping[str, Tensor], config: dict[str, Any]) -> None:
    """Write both files. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in contents(tensors, config).items():
        write_atomically(folder / name, data)


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Both files. Raises ValueError, with the file's name, for one that is missing, truncated or not ours."""
    return read_tensors(folder / WEIGHTS), _read_config(folder / CONFIG)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A safetensors file. Raises ValueError where it is missing, truncated or corrupt."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; is this the folder of a finished SAE?")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a whole safetensors file ({error}); copy or train it again") from None


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a readable SAE config ({error})") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ValueError(f"{path}: not the config of a saebench SAE (no format {FORMAT!r})")
    if config.get("version") != VERSION:
        raise ValueError(f"{path}: version {config.get('version')}, this saebench reads {VERSION}; update saebench")
    return config
