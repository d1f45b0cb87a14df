"""`saebench map`: the map of an SAE's decoder directions."""

from pathlib import Path
from typing import Annotated

import typer

import saebench
from saebench.cli.options import DEFAULT_WORKSPACE, Overrides, RecipeFile, WorkspaceDir
from saebench.cli.progress import console, track
from saebench.cli.recipe import read_recipe
from saebench.cli.trained import chosen_sae
from saebench.indexing.config import MapConfig
from saebench.indexing.map import map_of, nearest_first
from store.maps import Map, find_map, map_path, weights_sha256, write_map
from store.weights import decoder_rows


def run(config: MapConfig, workspace: Path, sae: str) -> Path:
    """Draw the map of an SAE, or find it drawn; returns its file."""
    made_from = {"sae": sae, "sha256": weights_sha256(workspace, sae), "map": config.model_dump()}
    done = find_map(workspace, sae)
    if done is not None and {key: done.provenance.get(key) for key in made_from} == made_from:
        return map_path(workspace, sae)
    rows = decoder_rows(workspace, sae)
    with track("neighbours", len(rows)) as progress:
        neighbours = nearest_first(rows, config.neighbours, progress)
    with track("layout", config.epochs) as progress:
        points = map_of(rows, neighbours, config, progress)
    return write_map(workspace, sae, Map(points, {**made_from, "code": saebench.__version__}))


def command(
    recipe: RecipeFile = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    sae: Annotated[str | None, typer.Option(help="SAE to draw; default: the workspace's only one.")] = None,
    set: Overrides = [],  # noqa: B006
) -> None:
    """Draw the map of an SAE's decoder directions, for the dashboard."""
    settings = read_recipe(recipe, set)
    console.print(f"map       {run(settings.map, workspace, chosen_sae(workspace, sae))}")
