"""`saebench convert`: an SAE of one library as that of another."""

from pathlib import Path
from typing import Annotated

import typer

from saebench.cli.progress import console
from saebench.errors import UserError
from saebench.saes import formats

KNOWN = ", ".join(formats.FORMATS)
WRITTEN = ", ".join(name for name, known in formats.FORMATS.items() if known.contents)


def command(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder of a checkpoint, or a .pt file.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="Folder to write.")],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help=f"Format to write: {WRITTEN}.")],
    from_: Annotated[
        str | None, typer.Option("--from", metavar="FORMAT", help=f"Format of SRC, if its files do not tell: {KNOWN}.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace files of another checkpoint in DST.")] = False,
) -> None:
    """Convert an SAE between saebench and the formats of other libraries."""
    try:
        checkpoint = formats.read(source, from_)
        formats.save(checkpoint.sae, target, to, replace)
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from None
    sae = checkpoint.sae
    size = f"{sae.n_latents} latents of {sae.d_in} dimensions, {str(sae.W_enc.dtype).removeprefix('torch.')}"
    notes = "".join(f"; {note}" for note in checkpoint.notes)
    console.print(f"converted {source} ({checkpoint.format}: {sae.rule.name}, {size}) to {target} ({to}){notes}")
