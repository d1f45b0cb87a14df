"""A finished SAE of a workspace and the language model that it was trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from saebench.errors import UserError
from saebench.files import file_sha256
from saebench.lm import LanguageModel, load_lm
from saebench.saes import SAE
from saebench.saes.files import WEIGHTS
from saebench.training.folder import CONFIG


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
        return file_sha256(self.folder / WEIGHTS)


def read_trained(workspace: Path, sae_id: str) -> Trained:
    """A finished SAE of the workspace.

    Raises:
        UserError: it is damaged, or nothing says what it was trained on.
    """
    folder = workspace / "saes" / sae_id
    try:
        config = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
        provenance = config["provenance"]
        if not {"name", "sha256", "arithmetic", "device"} <= provenance["model"].keys():
            raise KeyError("model")
        return Trained(sae_id, folder, SAE.load(folder), provenance["hook_point"], provenance)
    except (OSError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        raise UserError(f"{folder / CONFIG} does not say what the SAE was trained on; train it again") from None
    except ValueError as error:
        raise UserError(f"SAE {sae_id} cannot be opened: {error}") from None


def model_of(trained: Trained) -> LanguageModel:
    """The language model that an SAE was trained on.

    Raises:
        UserError: the model found under that name is not the same one.
    """
    return open_same(trained.provenance["model"], f"SAE {trained.id}")


def open_same(made: Mapping[str, str], reader: str) -> LanguageModel:
    """The language model of a provenance; `reader` says in the error what was trained on it.

    Raises:
        UserError: the model found under that name is not the same one.
    """
    lm = load_lm(made["name"], device=made["device"], precision=made["arithmetic"])
    if lm.sha256 != made["sha256"]:
        raise UserError(
            f"model {made['name']!r} is not the one that {reader} was trained on "
            f"(sha256 {lm.sha256[:12]}, then {made['sha256'][:12]}); restore that model or train again"
        )
    return lm
