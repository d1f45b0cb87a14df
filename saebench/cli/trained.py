"""Open an SAE of a workspace together with the model that it was trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from saebench.errors import UserError
from saebench.files import file_sha256
from saebench.lm import LanguageModel, load_lm
from saebench.saes import SAE


@dataclass(frozen=True)
class Trained:
    """A finished SAE: where it is, what it reads, and what it was made from."""

    id: str
    folder: Path
    sae: SAE
    hook_point: str
    provenance: dict[str, Any]

    @property
    def sha256(self) -> str:
        """Hash of the weights."""
        return file_sha256(self.folder / "sae.safetensors")


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
    sae_id = chosen_sae(workspace, sae_id)
    folder = workspace / "saes" / sae_id
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        provenance = config["provenance"]
        return Trained(sae_id, folder, SAE.load(folder), provenance["hook_point"], provenance)
    except (OSError, KeyError, TypeError, yaml.YAMLError):
        raise UserError(f"{folder / 'config.yaml'} does not say what the SAE was trained on; train it again") from None
    except ValueError as error:
        raise UserError(f"SAE {sae_id} cannot be opened: {error}") from None


def model_of(trained: Trained) -> LanguageModel:
    """The language model that an SAE was trained on.

    Raises:
        UserError: the model found under that name is not the same one.
    """
    made = trained.provenance["model"]
    lm = load_lm(made["name"], device=made["device"], precision=made["arithmetic"])
    if lm.sha256 != made["sha256"]:
        raise UserError(
            f"model {made['name']!r} is not the one that SAE {trained.id} was trained on "
            f"(sha256 {lm.sha256[:12]}, then {made['sha256'][:12]}); restore that model or train again"
        )
    return lm
