"""`saebench serve`: the dashboard."""

from typing import Annotated

import typer

from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir


def command(
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes any free one.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(help="What every request must bring; drawn and printed where others can reach the address."),
    ] = None,
) -> None:
    """Serve the dashboard of a workspace."""
    from web.server import serve

    serve(workspace, host, port, token)
