"""Open a set of SAEs together with the model that all of them read. Needs torch, unlike `sets`."""

from dataclasses import dataclass
from pathlib import Path

from saebench.circuits.sets import SAESet
from saebench.errors import UserError
from saebench.lm import LanguageModel
from saebench.saes import SAE
from saebench.saes.files import WEIGHTS
from saebench.training.trained import Trained, open_same, read_trained
from store import Catalog


@dataclass(frozen=True)
class OpenedSet:
    """A set in memory.

    Attributes:
        lm: the model that the SAEs were trained on.
        saes: hook point → SAE, in the order of the set.
        sha256s: hook point → hash of the SAE's weights.
    """

    lm: LanguageModel
    saes: dict[str, SAE]
    sha256s: dict[str, str]


def open_set(workspace: Path | str, chosen: SAESet) -> OpenedSet:
    """The SAEs of a set and their model.

    Raises:
        UserError: as `open_saes`, or the model itself is not the one that they were trained on.
    """
    return with_model(chosen, *open_saes(workspace, chosen))


def open_saes(workspace: Path | str, chosen: SAESet) -> tuple[dict[str, SAE], dict[str, str]]:
    """By hook point, the SAEs of a set and the hashes of their weights, without the model: that takes longer.

    Raises:
        UserError: an SAE is gone, damaged, has changed, or reads another model or hook point.
    """
    workspace = Path(workspace)
    recorded = {row["id"]: row.get("sha256") for row in Catalog(workspace).all("sae")}
    saes, sha256s = {}, {}
    for hook_point, sae_id in chosen.saes.items():
        if not (workspace / "saes" / sae_id / WEIGHTS).exists():
            raise _unusable(chosen, hook_point, f"SAE {sae_id} is gone")
        trained = read_trained(workspace, sae_id)
        sha256 = trained.sha256
        if reason := _unfit(chosen, hook_point, trained):
            raise _unusable(chosen, hook_point, reason)
        if recorded.get(sae_id) not in (None, sha256):
            raise _unusable(
                chosen, hook_point, f"SAE {sae_id} has changed since it was trained: restore it, or delete its folder"
            )
        saes[hook_point], sha256s[hook_point] = trained.sae, sha256
    return saes, sha256s


def with_model(chosen: SAESet, saes: dict[str, SAE], sha256s: dict[str, str]) -> OpenedSet:
    """What `open_saes` gave, and the model. Raises UserError where it is not the one that they were trained on."""
    return OpenedSet(open_same(chosen.model, f"SAE set {chosen.id}"), saes, sha256s)


def _unfit(chosen: SAESet, hook_point: str, trained: Trained) -> str | None:
    """Why an SAE cannot stand where the set has it, if so."""
    if trained.hook_point != hook_point:
        return f"SAE {trained.id} was trained on {trained.hook_point}"
    ours, theirs = chosen.model["sha256"], trained.provenance["model"]["sha256"]
    if theirs != ours:
        return f"SAE {trained.id} was trained on another model (sha256 {theirs[:12]}, the set's is {ours[:12]})"
    return None


def _unusable(chosen: SAESet, hook_point: str, reason: str) -> UserError:
    remedy = f"run `saebench circuit set RECIPE --id {chosen.id}` with its recipe again"
    return UserError(f"SAE set {chosen.id!r} cannot be used at {hook_point}: {reason}; {remedy}")
