"""`saebench store …`: look after what is in a workspace."""

from pathlib import Path
from typing import Annotated

import typer

from saebench.cli import interchange
from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.cli.progress import console
from saebench.errors import UserError
from saebench.harvest.manifest import Manifest, check_file
from saebench.interventions.check import check_runs, check_sets
from store import FeatureStore
from store.check import check_catalog, check_indexes, check_saes
from store.dreams import check_dreams
from store.garbage import find_garbage, remove_garbage

app = typer.Typer(help="Check, tidy, export and import what a workspace holds.", no_args_is_help=True)
app.command("import")(interchange.command)


@app.command()
def check(workspace: WorkspaceDir = DEFAULT_WORKSPACE) -> None:
    """Read every byte and count everything again; say what is wrong and which command puts it right."""
    _existing(workspace)
    found = 0
    for kind, results in (
        ("catalogue", [("", check_catalog(workspace))]),
        ("index", check_indexes(workspace)),
        ("sae", check_saes(workspace)),
        ("harvest", _check_harvests(workspace)),
        ("dream", check_dreams(workspace)),
        ("unlearning", check_runs(workspace)),
        ("interventions", check_sets(workspace)),
    ):
        for name, problems in results:
            verdict = "has no checksum" if problems is None else "NOT sound" if problems else "sound"
            console.print(f"{kind:<13} {verdict}  {name}".rstrip(), markup=False)
            for problem in problems or []:
                console.print(f"  {problem}", markup=False)
            found += len(problems or [])
    if found:
        raise UserError(f"{found} problem{'s' if found > 1 else ''} in {workspace}; what to do stands beside each")


def _check_harvests(workspace: Path) -> list[tuple[str, list[str]]]:
    """Every harvest and what is wrong with its shards."""
    return [(path.parent.name, _check_shards(path.parent)) for path in workspace.glob("harvests/*/manifest.json")]


def _check_shards(folder: Path) -> list[str]:
    try:
        manifest = Manifest.read(folder)
    except UserError as error:
        return [str(error)]
    problems = []
    for number, shard in enumerate(manifest.shards):
        for part, expected in shard.files.items():
            try:
                check_file(folder, part, number, expected)
            except UserError as error:
                problems.append(str(error))
    return problems


@app.command()
def gc(
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed.")] = False,
) -> None:
    """List what nothing refers to any more; with --yes, remove it."""
    _existing(workspace)
    garbage = find_garbage(workspace)
    for one in garbage:
        console.print(f"{one.n_bytes / 1e6:8.1f} MB  {one.name}  ({one.why})", markup=False)
    n_bytes = sum(one.n_bytes for one in garbage)
    if not garbage:
        console.print("nothing to remove")
    elif yes:
        removed = remove_garbage(workspace, garbage)
        console.print(f"removed {len(removed)}, {sum(one.n_bytes for one in removed) / 1e6:,.1f} MB")
    else:
        console.print(f"{len(garbage)} could go, {n_bytes / 1e6:,.1f} MB: run the same command with --yes")


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="File to write, .parquet or .csv; with --to a new folder.")],
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    sae: Annotated[str | None, typer.Option(help="SAE; default: the only one indexed.")] = None,
    corpus: Annotated[str | None, typer.Option(help="Corpus; default: the only one it was indexed on.")] = None,
    filter: Annotated[str | None, typer.Option(help="SQL condition on the columns of features.")] = None,
    order: Annotated[str | None, typer.Option(help="Columns to sort by.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many rows.")] = None,
    sql: Annotated[str | None, typer.Option(help="Any query, instead of the features.")] = None,
    to: Annotated[
        str | None, typer.Option(metavar="FORMAT", help=f"Format of another tool: {', '.join(interchange.FORMATS)}.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="With --to: name of the model there.")] = None,
    layer: Annotated[int | None, typer.Option(help="With --to: number of the layer.")] = None,
    source_set: Annotated[str | None, typer.Option(help="With --to: name of the SAE there, without layer.")] = None,
    creator: Annotated[str, typer.Option(help="With --to neuronpedia: whom to name as author.")] = "unknown",
) -> None:
    """Write features, or the result of any query, to a Parquet or CSV file; or features for another tool."""
    if to is None and out.suffix not in (".parquet", ".csv"):
        raise UserError(f"cannot tell how to write {out}; name it .parquet or .csv, or say --to which tool")
    if to is not None and sql is not None:
        raise UserError("--sql gives rows, --to writes features; choose them with --filter, --order and --limit")
    with FeatureStore.open(workspace) as store:
        rows = store.features(sae, corpus) if sql is None else store.sql(sql, sae, corpus)
        rows = rows.filter(filter) if filter else rows
        rows = rows.order(order or "feature") if order or to else rows
        rows = rows if limit is None else rows.limit(limit)
        if to is not None:
            features = [row["feature"] for row in rows.select("feature").rows()]
            names = interchange.Names(model, layer, source_set)
            interchange.export_features(store, out, to, features, sae, corpus, names, creator)
        else:
            (rows.to_parquet if out.suffix == ".parquet" else rows.to_csv)(out)
    console.print(f"export    {out}", markup=False)


def _existing(workspace: Path) -> None:
    if not workspace.is_dir():
        raise UserError(f"workspace {workspace} does not exist; make one with `saebench demo --workspace {workspace}`")
