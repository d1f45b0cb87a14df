"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

RecipeFile = Annotated[
    Path | None, typer.Argument(metavar="[RECIPE]", help="YAML recipe; without one, the demo's settings.")
]
WorkspaceDir = Annotated[
    Path, typer.Option("--workspace", "-w", metavar="DIR", help="Folder that everything is kept in.")
]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override one setting, e.g. --set train.sae.rule.k=64.")
]

DEFAULT_WORKSPACE = Path("workspace")
