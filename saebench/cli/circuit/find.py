"""`saebench circuit find`: the circuit of a task, and its proof."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.table import Table

from saebench.circuits import Circuit
from saebench.circuits.config import CircuitConfig
from saebench.circuits.wanted import wanted
from saebench.cli.options import DEFAULT_WORKSPACE, Overrides, RecipeFile, WorkspaceDir
from saebench.cli.progress import console
from saebench.config import load_recipe
from saebench.errors import UserError


class _Circuit(BaseModel):
    """A recipe's section on circuits; the others are passed over."""

    circuit: CircuitConfig = CircuitConfig()


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
    if not task.strip():
        raise UserError("no task is named; `saebench circuit tasks` lists them")
    config = load_recipe(_Circuit, recipe, [*set, *overrides]).circuit
    asked = wanted(workspace, task, config, saes, id, replace)
    circuit = asked.found_already()
    if circuit is None:
        from saebench.cli.circuit.finding import find  # torch takes seconds: a misspelt name need not wait for it
        from saebench.cli.recipe import read_recipe

        read_recipe(recipe, [*set, *overrides])  # all of it must be one
        circuit = find(asked)
    show(circuit, workspace)


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
