"""Find a circuit and prove it, in steps that can be taken up again."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import saebench
from saebench.circuits.assemble import assembled
from saebench.circuits.batches import Metric, logit_difference
from saebench.circuits.config import CircuitConfig
from saebench.circuits.discovery import Discovery
from saebench.circuits.graph import Circuit
from saebench.circuits.proof import agreement_of, curves_of
from saebench.circuits.tasks import Task
from saebench.lm import LanguageModel
from saebench.saes import SAE
from saebench.tracking import Track, silent
from saebench.work import opened_work


def discover(
    lm: LanguageModel,
    saes: Mapping[str, SAE],
    task: Task,
    config: CircuitConfig,
    work: Path,
    circuit_id: str,
    sae_ids: Mapping[str, str] | None = None,
    metric: Metric = logit_difference,
    track: Track = silent,
    provenance: Mapping[str, Any] | None = None,
    keep: Callable[[Circuit], object] = lambda _: None,
) -> Circuit:
    """Find and prove the circuit of a task. Stopped at any moment, the same call goes on from the last whole batch.

    Args:
        lm: the model.
        saes: by hook point; they read this model.
        task: the examples.
        config: how.
        work: folder for what is done so far, removed at the end.
        circuit_id: name of the result.
        sae_ids: names of the SAEs, for links.
        metric: what nodes act on; a user's own function of the logits goes through `batches.single`.
        track: is told how far it is.
        provenance: kept in the circuit; what was made from another is begun anew.
        keep: keeps the circuit. It is called before what is done so far is removed, so that a kill loses neither.

    Raises:
        UserError: a task that the model cannot read, SAEs that do not fit, a metric that says nothing, numbers that are
            not finite, no node above the threshold, another process at work on it.
    """
    about = {
        "task": {"name": task.name, "sha256": task.sha256}, "settings": config.model_dump(), "model": lm.provenance,
        "code": saebench.__version__, **(provenance or {}),
    }  # fmt: skip
    busy = f"another process is finding {work.name}; wait for it, or choose another --id"
    with opened_work(work, about, busy):
        run = Discovery(lm, task, config, saes, work, metric, track)
        kept = run.kept()
        circuit = assembled(
            run, kept, run.edges(kept), curves_of(run), agreement_of(run), circuit_id, sae_ids or {}, about
        )
        keep(circuit)
    shutil.rmtree(work, ignore_errors=True)
    return circuit
