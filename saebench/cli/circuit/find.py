"""`saebench circuit find`: the circuit of a task, and its proof."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from saebench.circuits import Circuit
from saebench.circuits.config import CircuitConfig
from saebench.circuits.discover import discover
from saebench.circuits.files import circuit_ids, read_circuit, work_folder, write_circuit
from saebench.circuits.sets import find_set
from saebench.circuits.sets_open import open_saes, with_model
from saebench.circuits.sites import in_order
from saebench.circuits.tasks import Task, write_task
from saebench.circuits.tasks.chosen import existing_task, made_task
from saebench.circuits.tasks.files import task_path
from saebench.circuits.tasks.registry import TASKS
from saebench.cli.options import DEFAULT_WORKSPACE, Overrides, RecipeFile, WorkspaceDir
from saebench.cli.progress import console, track
from saebench.cli.recipe import read_recipe
from saebench.errors import UserError
from saebench.lm import LanguageModel
from store.workspace import check_id


def run(
    workspace: Path,
    task_name: str,
    config: CircuitConfig,
    set_id: str | None = None,
    circuit_id: str | None = None,
    replace: bool = False,
) -> Circuit:
    """Find the circuit of a task with a set of SAEs into the workspace, or find it done.

    Raises:
        UserError: what does not fit together, as far as possible before the model is opened; a circuit of the same id
            that is another one, unless it is to be replaced.
        StoreError: an id that cannot be used.
    """
    chosen = find_set(workspace, set_id)
    in_order(list(chosen.saes))
    task = existing_task(workspace, task_name, chosen.model["name"])
    if task is None:
        label, templated, patched = task_name, TASKS[task_name].templated, True
    else:
        label, templated, patched = task.name, task.templated, task.pairs[0].patch is not None
    config.check_fits(label, templated=templated, patched=patched)
    name = check_id(circuit_id or f"{label}.{chosen.id}.{config.method}")
    saes, sha256s = open_saes(workspace, chosen)
    provenance = {"set": chosen.id, "saes": {point: [chosen.saes[point], sha] for point, sha in sha256s.items()}}
    if task is not None and (done := _done(workspace, name, task, config, provenance, replace)):
        return done
    opened = with_model(chosen, saes, sha256s)
    if task is None:
        task = _kept_task(workspace, task_name, opened.lm, config.examples + config.heldout)
        if done := _done(workspace, name, task, config, provenance, replace):
            return done
    return discover(
        opened.lm, saes, task, config, work_folder(workspace, name), name, sae_ids=chosen.saes, track=track,
        provenance=provenance, keep=lambda circuit: write_circuit(workspace, circuit),
    )  # fmt: skip


def _done(
    workspace: Path, name: str, task: Task, config: CircuitConfig, provenance: dict[str, Any], replace: bool
) -> Circuit | None:
    """The circuit of this name, if it is made of just these. Raises UserError where it is another one, not to be
    replaced.
    """
    if name not in circuit_ids(workspace):
        return None
    made_from = {"task": {"name": task.name, "sha256": task.sha256}, "settings": config.model_dump(), **provenance}
    done = read_circuit(workspace, name)
    if {key: done.provenance.get(key) for key in made_from} == made_from:
        return done
    if not replace:
        raise UserError(
            f"workspace {workspace} has a circuit {name!r} already, made of other settings, SAEs or examples; choose "
            "another --id, or add --replace"
        )
    return None


def _kept_task(workspace: Path, name: str, lm: LanguageModel, n: int) -> Task:
    """A task made for the model, and kept in the workspace."""
    with track(f"task {name}", 2 * n) as progress:
        made = made_task(lm, name, n, progress=progress)
    write_task(task_path(workspace, name), made)
    return made


def show(circuit: Circuit, workspace: Path) -> None:
    """Print what was found."""
    kinds = {kind: sum(node.kind == kind for node in circuit.nodes) for kind in ("feature", "error", "token")}
    counts = ", ".join(f"{n} {kind}s" for kind, n in kinds.items())
    console.print(
        f"circuit   {circuit.id} · {counts} · {len(circuit.edges)} edges · "
        f"errors carry {circuit.error_share:.0%} of all effects"
    )
    own = next((curve for curve in circuit.curves if curve.family == "features"), None)
    if own is not None:
        table = Table("threshold", "nodes", "faithfulness", "completeness", box=None, pad_edge=False)
        for point in own.points:
            mark = " ← this circuit" if point.threshold == circuit.node_threshold else ""
            table.add_row(
                f"{point.threshold:.3g}{mark}",
                str(point.n_nodes),
                f"{point.faithfulness:.2f}",
                f"{point.completeness:.2f}",
            )
        console.print(table)
    if (judged := circuit.judged) is not None:
        examples = f"{circuit.n_heldout} held-out" if circuit.n_heldout else f"{circuit.n_examples}"
        console.print(
            f"proven    faithfulness {judged.faithfulness:.2f} with {judged.n_nodes:,} nodes at threshold "
            f"{judged.threshold:.3g}, on {examples} examples"
        )
    console.print(f"look at it with `saebench serve --workspace {workspace}`, under Circuits")


def command(
    task: Annotated[str, typer.Argument(help="A task: its name, or a JSONL file (see `saebench circuit tasks`).")],
    recipe: RecipeFile = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    saes: Annotated[str | None, typer.Option(help="SAE set; default: the workspace's only one.")] = None,
    id: Annotated[str | None, typer.Option(help="Name of the circuit; default: <task>.<set>.<method>.")] = None,
    method: Annotated[str | None, typer.Option(help="ig, attrib or exact.")] = None,
    aggregation: Annotated[str | None, typer.Option(help="sum over positions, or none.")] = None,
    reference: Annotated[str | None, typer.Option(help="pairs, zero or mean.")] = None,
    node_threshold: Annotated[float | None, typer.Option(help="Least absolute effect of a node.")] = None,
    edge_threshold: Annotated[float | None, typer.Option(help="Least absolute weight of an edge.")] = None,
    examples: Annotated[int | None, typer.Option(help="Examples to find it on.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a circuit of this id that is another one.")
    ] = False,
    set: Overrides = [],  # noqa: B006
) -> None:
    """Find which features carry a behaviour, how they act on each other, and how well they stand for the model."""
    given = {
        "method": method, "aggregation": aggregation, "reference": reference, "node_threshold": node_threshold,
        "edge_threshold": edge_threshold, "examples": examples,
    }  # fmt: skip
    overrides = [f"circuit.{key}={value}" for key, value in given.items() if value is not None]
    config = read_recipe(recipe, [*set, *overrides]).circuit
    if not task.strip():
        raise UserError("no task is named; `saebench circuit tasks` lists them")
    show(run(workspace, task, config, saes, id, replace), workspace)
