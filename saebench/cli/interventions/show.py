"""`saebench interventions show`: what a saved set does."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.cli.progress import console
from saebench.interventions import Intervention, InterventionSet, read_interventions
from saebench.interventions.opened import unusable
from saebench.interventions.where import as_tuple


def command(
    interventions: Annotated[str, typer.Argument(metavar="ID", help="A set of the workspace.")],
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, as its file has it.")] = False,
) -> None:
    """Show what a set of interventions does, in order, and whether it can be applied."""
    found = read_interventions(workspace, interventions)
    if as_json:
        print(found.model_dump_json(indent=1))
    else:
        show(found, workspace)


def show(found: InterventionSet, workspace: Path) -> None:
    """Print a set."""
    for name, used in found.saes.items():
        called = "" if name == used.id else f", here {name}"
        console.print(f"SAE       {used.id} at {used.hook_point}{called}", markup=False)
    console.print(f"model     {found.model.get('name', 'unknown')}", markup=False)
    if found.notes:
        console.print(f"notes     {found.notes}", markup=False)
    table = Table("kind", "features", "to", "where", box=None, pad_edge=False)
    for one in found.interventions:
        features = ", ".join(map(str, one.features))
        which = features if len(found.saes) == 1 else f"{features} of {one.sae}"
        table.add_row(*map(Text, (one.label, which, numbers(one), where(one))))
    console.print(table)
    for used in found.saes.values():
        if reason := unusable(workspace, used):
            console.print(f"cannot be applied: {reason}", markup=False)


def numbers(one: Intervention) -> str:
    """The numbers of an intervention by their names."""
    return ", ".join(f"{name} {getattr(one, name):g}" for name in one.parameters)


def where(one: Intervention) -> str:
    """The tokens and the condition of an intervention; nothing where it happens everywhere."""
    said = []
    if one.tokens.start or one.tokens.stop is not None:
        said.append(f"tokens {one.tokens.start} to {'the end' if one.tokens.stop is None else one.tokens.stop - 1}")
    if one.tokens.special:
        said.append("special tokens too")
    if one.when is not None:
        given = one.when.model_dump(exclude_none=True, exclude_defaults=True)
        kind, features, sae = one.when.kind, given.pop("feature", None), given.pop("sae", None)
        about = "" if features is None else f" of {', '.join(map(str, as_tuple(features)))}"
        of_sae = "" if sae is None else f" ({sae})"
        said.append(f"{kind}{about}{of_sae}" + "".join(f", {name} {value:g}" for name, value in given.items()))
    return "; ".join(said)
