"""The folder of a run: config.yaml first, metrics.jsonl and checkpoints while it trains, the SAE at the end.

Decisions: config.yaml holds the resolved config and where everything came from; it is locked while a process trains, so
that two never share a folder. A config that differs from the one the run began with is an error, not a new run.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import ValidationError

import saebench
from saebench.config import explain
from saebench.errors import UserError
from saebench.files import atomic_write
from saebench.saes.files import WEIGHTS
from saebench.training.config import TrainConfig

CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write into a UserError that says what to do."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {error.filename or path}: {error.strerror or error}; "
            "free space or mend the folder, then run the same command again to continue"
        ) from None


@contextmanager
def opened(out: Path, config: TrainConfig, d_model: int, provenance: dict[str, Any]) -> Iterator[TrainConfig]:
    """The run's resolved config, its folder begun or found again, and locked against other processes.

    Raises UserError for a folder that another process trains into, cannot be written, or began differently.
    """
    path = out / CONFIG
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    if path.exists():
        resolved = _continued(path, config, d_model, provenance)
    else:
        resolved = config.resolve(d_model)
        made_with = {
            "saebench": saebench.__version__,
            "torch": str(torch.__version__),
            "threads": torch.get_num_threads(),
        }
        about = {"d_model": d_model} | provenance | made_with
        text = yaml.safe_dump(resolved.model_dump() | {"provenance": about}, sort_keys=False, allow_unicode=True)
        with atomic_write(path) as file:
            file.write(text.encode())
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{out}: another process is training here; wait for it or choose another folder") from None
        yield resolved


def _continued(path: Path, config: TrainConfig, d_model: int, provenance: dict[str, Any]) -> TrainConfig:
    try:
        stored = yaml.safe_load(path.read_text(encoding="utf-8"))
        about = stored.pop("provenance")
    except (yaml.YAMLError, AttributeError, KeyError, ValueError):
        raise UserError(f"{path}: not the config of a training run; choose another folder") from None
    try:
        begun = TrainConfig.model_validate(stored)
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error)}; choose another folder") from None
    if about.get("d_model") != d_model:
        raise UserError(
            f"{path.parent}: this run began on activations of width {about.get('d_model')}, these have {d_model}; "
            "use the same harvest or choose another folder"
        )
    now = _flat(config.model_dump(exclude={"parallel"})) | _flat({"provenance": provenance})
    then = _flat(begun.model_dump()) | _flat({"provenance": about})
    for key, value in now.items():
        if value not in (None, "auto") and then.get(key) != value:
            raise UserError(
                f"{path.parent}: this run began with {key} = {then.get(key)}, now it is {value}; "
                "choose another folder, or remove this one to begin again"
            )
    return begun.model_copy(update={"parallel": config.parallel})


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def finished(out: Path) -> bool:
    """Whether the run's SAE is there."""
    return (out / WEIGHTS).exists()


def cut_metrics(out: Path, step: int) -> None:
    """Drop the rows after `step` (and a torn last line): they will be written again. Raises UserError."""
    path = out / METRICS
    kept = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            try:
                row = json.loads(line)
            except ValueError:
                break
            if row["step"] > step or not line.endswith("\n"):
                break
            kept.append(line)
    with atomic_write(path) as file:
        file.write("".join(kept).encode())


def append_metrics(out: Path, row: dict[str, Any]) -> None:
    """Add a row, on disk when this returns. Raises UserError."""
    path = out / METRICS
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def last_metrics(out: Path) -> dict[str, Any]:
    """The last row of metrics.jsonl, also of a run that another process finished; empty where there is none."""
    path = out / METRICS
    rows = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return json.loads(rows[-1]) if rows else {}


def clear_checkpoints(out: Path) -> None:
    """Remove the checkpoints of a finished run."""
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
