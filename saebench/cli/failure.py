"""How a command fails: one line on stderr."""

from rich.console import Console
from rich.markup import escape


def report(message: str) -> None:
    """Print an error in one line, whatever line breaks its cause brought along."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(
        f"[bold red]error:[/] {escape(' '.join(message.split()))}"
    )
