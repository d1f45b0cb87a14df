"""The training loop: a run of one SAE, or of several side by side on one stream of activations.

Decisions:
- Each SAE of a run has a folder, a config and checkpoints of its own and comes out as if it had been trained alone: the
  batches depend on the seed only. A run goes on from the step of the member that is furthest back; the others wait.
- FVU, loss and L0 in metrics.jsonl are measured on each batch before it is trained on, and averaged since the last row.
- A run can be killed at any moment: it continues from its latest checkpoint, and the SAE and the metrics (but for their
  times) come out as if it had not been, given the same number of threads.
- Activations are made (read, or run through the model) in a thread beside the steps.
- Of several processes (torchrun) all read the stream and train; the first alone makes folders and writes into them.
- Nothing is printed: callers show progress through `on_metrics`.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from saebench.errors import UserError
from saebench.saes import SAE, initialise
from saebench.saes.losses import variance
from saebench.saes.ranks import Ranks
from saebench.training import distributed, folder
from saebench.training.config import TrainConfig
from saebench.training.meter import Meter
from saebench.training.ring import BlockSource, Ring
from saebench.training.schedule import rate, sparsity
from saebench.training.state import State, load_latest, new_state, save_checkpoint
from saebench.training.state import checkpoints as saved_checkpoints
from saebench.training.step import step
from saebench.training.tracking import Tracker, ignore, open_tracker

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

    def first(index: int, row: dict[str, Any]) -> None:
        del index
        if on_metrics:
            on_metrics(row)

    return train_all(config, source, [out], first, provenance)[0]


def train_all(
    config: TrainConfig,
    source: BlockSource,
    outs: Sequence[Path],
    on_metrics: Callable[[int, dict[str, Any]], None] | None = None,
    provenance: dict[str, Any] | None = None,
) -> list[SAE]:
    """Train every SAE of a config from one stream, each into its folder; `on_metrics` gets its number and the row.

    As one of torchrun's processes, it trains with the others.
    Raises UserError as `train` does, and where there is not one folder for each SAE.
    """
    with distributed.launched():
        return _train_all(config, source, outs, on_metrics, provenance or {}, distributed.ranks_for(config.parallel))


def _train_all(
    config: TrainConfig,
    source: BlockSource,
    outs: Sequence[Path],
    on_metrics: Callable[[int, dict[str, Any]], None] | None,
    provenance: dict[str, Any],
    ranks: Ranks,
) -> list[SAE]:
    members = config.members()
    outs = [Path(out) for out in outs]
    if len(outs) != len(members) or len(set(outs)) != len(outs):
        raise UserError(f"{len(members)} SAEs to train need as many different folders, got {len(outs)}")
    for member in members:
        distributed.check(member, ranks)
    with ExitStack() as stack:
        runs = []
        for index, (member, out) in enumerate(zip(members, outs, strict=True)):

            def begin(member: TrainConfig = member, out: Path = out) -> tuple[dict[str, Any], bool]:
                resolved = stack.enter_context(folder.opened(out, member, source.d_model, provenance))
                return resolved.model_dump(), folder.finished(out)

            resolved, finished = distributed.from_first(ranks, begin)
            if not finished:
                config = TrainConfig.model_validate(resolved)
                runs.append(_open_run(index, config, out, source.d_model, stack, ranks))
        if runs:
            _run(runs, source, on_metrics, ranks)
    return [distributed.loaded(ranks, partial(_finished, out)) for out in outs]


def _finished(out: Path) -> SAE:
    folder.clear_checkpoints(out)
    try:
        return SAE.load(out)
    except ValueError as error:
        raise UserError(str(error)) from None


@dataclass
class Run:
    """One SAE of a run: where it stands and where it goes."""

    index: int
    config: TrainConfig
    out: Path
    state: State
    ring: dict[str, Any] | None
    """Where the ring was at the state's checkpoint; None at the start."""
    tracker: Tracker
    meter: Meter
    begun: float = 0.0


def _open_run(index: int, config: TrainConfig, out: Path, d_model: int, stack: ExitStack, ranks: Ranks) -> Run:
    state = new_state(config, d_model)
    ring = load_latest(out / folder.CHECKPOINTS, state, ranks)
    tracker: Tracker = ignore
    if ranks.first:
        folder.cut_metrics(out, state.step)
        tracker = stack.enter_context(open_tracker(config, out))
    return Run(index, config, out, state, ring, tracker, Meter(state), time.perf_counter() - state.seconds)


def _run(
    runs: list[Run],
    source: BlockSource,
    on_metrics: Callable[[int, dict[str, Any]], None] | None,
    ranks: Ranks,
) -> None:
    """Train from the step of the member furthest back to the end."""
    last = min(runs, key=lambda run: run.state.step)
    config, at = last.config, last.state.step
    ring = Ring(source, config.ring_rows, config.batch, config.seed, last.ring)
    for run in runs:
        if not run.state.step:
            with _explained(run):
                _fit(run.state, ring.sample(INITIAL_SAMPLE).to(config.device), ranks)
    for now in range(at, config.steps):
        x = ring.next().to(config.device, non_blocking=True)
        for run in runs:
            if run.state.step == now:
                with _explained(run):
                    _advance(run, x, ring, on_metrics)
    for run in runs:
        run.state.sae.rescale(run.state.scale)
        distributed.unite(run.state)
        if ranks.first:
            with folder.writing(run.out):
                run.state.sae.save(run.out)


def _fit(state: State, sample: Float[Tensor, "tokens d_in"], ranks: Ranks) -> None:
    """Set the scale so that the activations' mean squared distance from their mean is d_in, and initialise the SAE.

    Several processes all do so for the whole SAE, take on the first one's, and keep their parts.
    """
    if state.sae.normalise == "none":
        spread = float((variance(sample.double()) / sample.shape[1]).sqrt()) if sample.isfinite().all() else 0.0
        state.scale = spread or 1.0
    initialise(state.sae, sample / state.scale)
    state.scale = distributed.from_first(ranks, lambda: state.scale)
    distributed.copy_from_first(state.sae, ranks)
    distributed.split(state, ranks)


def _advance(
    run: Run, x: Float[Tensor, "batch d_in"], ring: Ring, on_metrics: Callable[[int, dict[str, Any]], None] | None
) -> None:
    """One step of a member, with what falls due after it."""
    config, state = run.config, run.state
    lr = (config.sae.lr or 0.0) * rate(state.step, config.steps, config.warmup, config.decay)
    price = sparsity(state.step, config.steps, config.sparsity_warmup)
    run.meter.add(step(state, x, lr, sparsity=price, clip=config.clip, micro_batch=config.micro_batch))
    state.seconds = time.perf_counter() - run.begun
    if state.step % config.log_every == 0 or state.step == config.steps:
        row = run.meter.row(state, config.batch, lr)
        if state.sae.ranks.first:
            folder.append_metrics(run.out, row)
            run.tracker(row)
            if on_metrics:
                on_metrics(run.index, row)
    if state.step % config.checkpoint_every == 0 and state.step < config.steps:
        save_checkpoint(run.out / folder.CHECKPOINTS, state, ring)


@contextmanager
def _explained(run: Run) -> Iterator[None]:
    """Turn what the arithmetic refuses into a UserError that names the step and the last good checkpoint."""
    try:
        yield
    except ValueError as error:
        saved = saved_checkpoints(run.out / folder.CHECKPOINTS)
        last = f"the last good checkpoint is {saved[-1]}" if saved else "there is no checkpoint yet"
        raise UserError(f"training stopped after step {run.state.step}: {error}; {last}") from None
