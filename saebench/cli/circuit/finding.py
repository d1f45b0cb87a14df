"""What `saebench circuit find` does once it is known what for: find the circuit."""

from saebench.circuits import Circuit
from saebench.circuits.discover import discover
from saebench.circuits.files import work_folder, write_circuit
from saebench.circuits.sets_open import open_saes, with_model
from saebench.circuits.tasks import write_task
from saebench.circuits.tasks.chosen import check_readable, made_task
from saebench.circuits.tasks.files import task_path
from saebench.circuits.wanted import Wanted
from saebench.cli.progress import track


def find(wanted: Wanted) -> Circuit:
    """Find a circuit into the workspace, or, of a task that is only made now, find it done.

    Raises:
        UserError: prompts that the model's tokenizer cannot read, SAEs that do not fit, what the discovery refuses; as
            far as possible before the model is opened.
    """
    workspace, chosen, config, task = wanted.workspace, wanted.chosen, wanted.config, wanted.task
    if task is not None:
        check_readable(task, chosen.model["name"])
    saes, sha256s = open_saes(workspace, chosen)
    opened = with_model(chosen, saes, sha256s)
    if task is None:
        n = config.examples + config.heldout
        with track(f"task {wanted.name}", 2 * n) as progress:
            task = made_task(opened.lm, wanted.name, n, progress=progress)
        write_task(task_path(workspace, wanted.name), task)
        if done := wanted.found(task, sha256s):
            return done
    return discover(
        opened.lm, saes, task, config, work_folder(workspace, wanted.id), wanted.id, sae_ids=chosen.saes, track=track,
        provenance=wanted.provenance(sha256s), keep=lambda circuit: write_circuit(workspace, circuit),
    )  # fmt: skip
