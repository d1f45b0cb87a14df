"""The training loop: one step, and the run around it.

Decisions:
- A step is: encode, decode, loss, backward, remove the decoder gradient's part along its rows, fused Adam, unit rows.
- FVU, loss and L0 in metrics.jsonl are measured on each batch before it is trained on, and averaged since the last row.
- A run can be killed at any moment: it continues from its latest checkpoint, and the SAE and the metrics (but for their
  times) come out as if it had not been, given the same number of threads.
- Nothing is printed: callers show progress through `on_metrics`.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from saebench.errors import UserError
from saebench.saes import SAE, Loss, initialise
from saebench.training import folder
from saebench.training.config import TrainConfig
from saebench.training.ring import BlockSource, Ring
from saebench.training.schedule import rate
from saebench.training.state import State, load_latest, new_state, save_checkpoint
from saebench.training.state import checkpoints as saved_checkpoints

INITIAL_SAMPLE = 32_768

OnMetrics = Callable[[dict[str, Any]], None]


def train(
    config: TrainConfig,
    source: BlockSource,
    out: Path,
    on_metrics: OnMetrics | None = None,
    provenance: dict[str, Any] | None = None,
) -> SAE:
    """Train an SAE into the folder `out`, or continue there; a finished run is only loaded.

    `provenance` (plain data: what the activations were made from) is kept in config.yaml and must not change.
    Raises UserError for a config, source or folder that cannot be trained with or into.
    """
    out = Path(out)
    with folder.opened(out, config, source.d_model, provenance or {}) as resolved:
        if not folder.finished(out):
            _run(resolved, source, out, on_metrics)
        folder.clear_checkpoints(out)
        try:
            return SAE.load(out)
        except ValueError as error:
            raise UserError(str(error)) from None


def step(state: State, x: Float[Tensor, "batch d_in"], lr: float) -> Loss:
    """One optimiser step on a batch. Raises ValueError for NaN or Inf in it."""
    sae = state.sae
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    loss = sae.loss(x, state.dead())
    loss.total.backward()
    sae.project_decoder_gradient()
    state.optimizer.step()
    state.optimizer.zero_grad()
    sae.normalise_decoder()
    state.count_fired(loss.codes)
    state.step += 1
    return loss


def _run(config: TrainConfig, source: BlockSource, out: Path, on_metrics: OnMetrics | None) -> None:
    """Train from the latest checkpoint, or from the start, to the end."""
    begun = time.perf_counter()
    checkpoints = out / folder.CHECKPOINTS
    state = new_state(config, source.d_model)
    ring = Ring(source, config.ring_rows, config.batch, config.seed, load_latest(checkpoints, state))
    if not state.step:
        with _explained(state, checkpoints):
            initialise(state.sae, ring.sample(INITIAL_SAMPLE))
    folder.cut_metrics(out, state.step)
    begun -= state.seconds
    meter = Meter(state)
    while state.step < config.steps:
        lr = (config.lr or 0.0) * rate(state.step, config.steps, config.warmup, config.decay)
        with _explained(state, checkpoints):
            meter.add(step(state, ring.next(), lr))
        state.seconds = time.perf_counter() - begun
        if state.step % config.log_every == 0 or state.step == config.steps:
            row = meter.row(state, config.batch, lr)
            folder.append_metrics(out, row)
            if on_metrics:
                on_metrics(row)
        if state.step % config.checkpoint_every == 0 and state.step < config.steps:
            save_checkpoint(checkpoints, state, ring)
    with folder.writing(out):
        state.sae.save(out)


class Meter:
    """Averages over the steps since the last row of metrics."""

    def __init__(self, state: State) -> None:
        self._begin(state)

    def _begin(self, state: State) -> None:
        self._seconds = state.seconds
        self._sums = {"loss": 0.0, "l0": 0.0, "fvu": 0.0}
        self._steps = 0

    def add(self, loss: Loss) -> None:
        """Count a step. Raises ValueError for a loss that is not finite."""
        now = {"loss": loss.total.item(), "l0": loss.l0, "fvu": loss.fvu.item()}
        if not math.isfinite(now["loss"]):
            raise ValueError(f"the loss became {now['loss']}: lower lr")
        for key, value in now.items():
            self._sums[key] += value
        self._steps += 1

    def row(self, state: State, batch: int, lr: float) -> dict[str, Any]:
        """The row of metrics.jsonl at this step; begins the next average."""
        means = {key: value / self._steps for key, value in self._sums.items()}
        speed = self._steps * batch / max(state.seconds - self._seconds, 1e-9)
        dead = state.dead().float().mean().item()
        self._begin(state)
        return {"step": state.step, "tokens": state.step * batch, "seconds": round(state.seconds, 3)} | {
            **means,
            "dead": dead,
            "lr": lr,
            "tokens_per_second": round(speed, 1),
        }


@contextmanager
def _explained(state: State, checkpoints: Path) -> Iterator[None]:
    """Turn what the arithmetic refuses into a UserError that names the step and the last good checkpoint."""
    try:
        yield
    except ValueError as error:
        saved = saved_checkpoints(checkpoints)
        last = f"the last good checkpoint is {saved[-1]}" if saved else "there is no checkpoint yet"
        raise UserError(f"training stopped after step {state.step}: {error}; {last}") from None
