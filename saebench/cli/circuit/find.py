"""`saebench circuit find`: the circuit of a task, and its proof."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from saebench.circuits import Circuit
from saebench.circuits.config import CircuitConfig
from saebench.circuits.discover import discover
from saebench.circuits.files import circuit_ids, read_circuit, work_folder, write_circuit
from saebench.circuits.sets import find_set
from saebench.circuits.sets_open import open_set
from saebench.circuits.tasks import Task, read_task, write_task
from saebench.circuits.tasks.files import find_task, task_names, task_path
from saebench.circuits.tasks.known import answers, keep_known
from saebench.circuits.tasks.registry import TASKS
from saebench.cli.options import DEFAULT_WORKSPACE, Overrides, RecipeFile, WorkspaceDir
from saebench.cli.progress import console, track
from saebench.cli.recipe import read_recipe
from saebench.errors import UserError
from saebench.lm import LanguageModel


def run(
    workspace: Path, task_name: str, config: CircuitConfig, set_id: str | None = None, circuit_id: str | None = None
) -> Circuit:
    """Find the circuit of a task with a set of SAEs into the workspace, or find it done."""
    chosen = find_set(workspace, set_id)
    opened = open_set(workspace, chosen)
    task = task_of(workspace, task_name, opened.lm, config.examples + config.heldout)
    name = circuit_id or f"{task.name}.{chosen.id}.{config.method}"
    provenance = {"set": chosen.id, "saes": {point: [chosen.saes[point], sha] for point, sha in opened.sha256s.items()}}
    made_from = {"task": {"name": task.name, "sha256": task.sha256}, "settings": config.model_dump(), **provenance}
    if name in circuit_ids(workspace):
        done = read_circuit(workspace, name)
        if {key: done.provenance.get(key) for key in made_from} == made_from:
            return done
    circuit = discover(
        opened.lm, opened.saes, task, config, work_folder(workspace, name), name, sae_ids=chosen.saes,
        track=track, provenance=provenance,
    )  # fmt: skip
    write_circuit(workspace, circuit)
    return circuit


def task_of(workspace: Path, name: str, lm: LanguageModel, n: int) -> Task:
    """A task by the name of a file, or of the workspace's, or else made now, of what the model gets right, and kept.

    Raises:
        UserError: no such file or task, or one that the model cannot do.
    """
    if name.endswith(".jsonl"):
        return read_task(Path(name))
    if name in task_names(workspace) or name not in TASKS:
        return find_task(workspace, name)
    task = TASKS[name](lm.tokenizer, n, 0)
    with track(f"task {name}", 2 * n) as progress:
        known = keep_known(task, answers(lm, task, progress))
    write_task(task_path(workspace, name), known)
    return known


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
    show(run(workspace, task, config, saes, id), workspace)
