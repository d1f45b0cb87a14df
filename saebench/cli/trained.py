"""Choose an SAE of a workspace, as `--sae` does, and open it."""

from pathlib import Path

from saebench.errors import UserError
from saebench.training.trained import Trained, model_of, read_trained

__all__ = ["Trained", "chosen_sae", "model_of", "open_sae"]


def chosen_sae(workspace: Path, sae_id: str | None) -> str:
    """The id of an SAE of the workspace, or of the only one there is.

    Raises:
        UserError: no such SAE, several to choose from, or unfinished.
    """
    known = sorted(path.parent.name for path in (workspace / "saes").glob("*/sae.safetensors"))
    if sae_id is None:
        if len(known) != 1:
            raise UserError(
                f"workspace {workspace} has no finished SAE; run `saebench train`"
                if not known
                else f"workspace {workspace} has several SAEs ({', '.join(known)}); choose one with --sae"
            )
        sae_id = known[0]
    if sae_id not in known:
        raise UserError(f"workspace {workspace} has no finished SAE {sae_id!r}; it has: {', '.join(known) or 'none'}")
    return sae_id


def open_sae(workspace: Path, sae_id: str | None) -> Trained:
    """An SAE of the workspace by its id, or the only one there is.

    Raises:
        UserError: no such SAE, several to choose from, unfinished, or damaged.
    """
    return read_trained(workspace, chosen_sae(workspace, sae_id))
