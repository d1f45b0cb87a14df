"""Metrics to TensorBoard and Weights & Biases, for those who watch them there; metrics.jsonl is written regardless.

Decisions: both are optional packages, looked for before any work. A continued run goes on under the same name: rows
after the checkpoint are sent again with the same step.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from saebench.errors import UserError
from saebench.training.config import TrainConfig

Tracker = Callable[[dict[str, Any]], None]


def ignore(row: dict[str, Any]) -> None:
    """A tracker that sends rows nowhere."""


@contextmanager
def open_tracker(config: TrainConfig, out: Path) -> Iterator[Tracker]:
    """A function that sends a row of metrics wherever the config says; closed at the end of the run.

    Raises UserError where the package is not installed.
    """
    with ExitStack() as stack:
        trackers = []
        if config.tracking.tensorboard:
            trackers.append(stack.enter_context(_tensorboard(out)))
        if config.tracking.wandb_project is not None:
            trackers.append(stack.enter_context(_wandb(config, out)))

        def send(row: dict[str, Any]) -> None:
            for tracker in trackers:
                tracker(row)

        yield send


def scalars(row: dict[str, Any]) -> dict[str, float]:
    """A row of metrics as flat names and numbers: parts of the loss as `parts/<name>`."""
    flat = {key: value for key, value in row.items() if key not in ("step", "parts")}
    return flat | {f"parts/{key}": value for key, value in row["parts"].items()}


@contextmanager
def _tensorboard(out: Path) -> Iterator[Tracker]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError("train.tracking.tensorboard needs the package tensorboard: pip install tensorboard") from None

    def send(row: dict[str, Any]) -> None:
        for name, value in scalars(row).items():
            writer.add_scalar(name, value, row["step"])

    with SummaryWriter(out / "tensorboard") as writer:
        yield send


@contextmanager
def _wandb(config: TrainConfig, out: Path) -> Iterator[Tracker]:
    try:
        import wandb
    except ImportError:
        raise UserError("train.tracking.wandb_project needs the package wandb: pip install wandb") from None
    # the folder's name is the run's, so that a continued run is the same run there
    name = out.resolve().name
    run = wandb.init(
        project=config.tracking.wandb_project, name=name, id=name, resume="allow", dir=out, config=config.model_dump()
    )

    def send(row: dict[str, Any]) -> None:
        run.log(scalars(row), step=row["step"])

    try:
        yield send
    finally:
        run.finish()
