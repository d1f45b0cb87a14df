"""Files of foreign checkpoints: read whole or refused, written whole or not at all, nothing replaced unasked."""

import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from saebench.saes import files
from saebench.saes.formats.checks import Config, Tensors


def read_json(path: Path) -> Config:
    """A JSON table. Raises ValueError for one that is missing, damaged or no table."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a readable config ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not the config of an SAE, it holds no table")
    return content


def read_pickle(path: Path) -> dict[str, Any]:
    """A pickled state dict, tensors and plain values only: no code runs. Raises ValueError for anything else."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = "it is damaged or holds more than tensors, and such a pickle is never opened"
        if isinstance(error, OSError):
            reason = error.strerror or "it cannot be read"
        raise ValueError(f"{path}: not a checkpoint of weights only: {reason}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{path}: not a state dict")
    return content


def tensors_only(content: Mapping[str, Any]) -> Tensors:
    """A state dict without settings in it. Raises ValueError naming an entry that is no tensor."""
    for name, value in content.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{name} is no tensor but {type(value).__name__}")
    return dict(content)


def as_safetensors(tensors: Tensors) -> bytes:
    """The content of a safetensors file, without metadata."""
    return safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


def as_pickle(tensors: Tensors) -> bytes:
    """The content of a `.pt` file."""
    file = io.BytesIO()
    torch.save({name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}, file)
    return file.getvalue()


def as_json(config: Config) -> bytes:
    """The content of a JSON file."""
    return (json.dumps(config, indent=2) + "\n").encode()


def place(folder: Path, contents: Mapping[str, bytes], replace: bool) -> None:
    """Write files into a folder, each whole or not at all, in this order; equal ones stay.

    Raises ValueError where another file is in the way and `replace` is not given, before any is written; OSError.
    """
    changed = {name: data for name, data in contents.items() if not _holds(folder / name, data)}
    in_the_way = [name for name in changed if (folder / name).exists()]
    if in_the_way and not replace:
        raise ValueError(
            f"{folder} already holds another {' and '.join(in_the_way)}; remove it or choose another folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in changed.items():
        files.write_atomically(folder / name, data)


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data
