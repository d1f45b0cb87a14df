"""`saebench compare`: what became of the features of one SAE in another."""

from typing import Annotated

import typer
from rich.table import Table

from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.cli.progress import console, track
from store import FeatureStore


def command(
    a: Annotated[str, typer.Argument(help="The first SAE.")],
    b: Annotated[str, typer.Argument(help="The second, indexed on the same corpus.")],
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    corpus: Annotated[str | None, typer.Option(help="Which corpus, if there are several.")] = None,
) -> None:
    """Match the features of two SAEs by decoder cosine and by use, and keep what is found for the dashboard."""
    with FeatureStore.open(workspace) as store:
        found = store.kept_comparison(a, b, corpus)
        if found is None:
            with track("compare", store.index(a, corpus).n_features) as progress:
                found = store.keep_comparison(a, b, corpus, progress)
        table = Table("features", *sorted({word for side in found.summary().values() for word in side}), box=None)
        for name, counts in zip((a, b), found.summary().values(), strict=True):
            table.add_row(name, *(f"{counts.get(str(column.header), 0):,}" for column in table.columns[1:]))
        console.print(table)
