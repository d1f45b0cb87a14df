"""SAEs and sets of interventions of a workspace, opened together with the model that they are made for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from saebench.errors import UserError
from saebench.files import file_sha256
from saebench.interventions.apply import Hooked, check
from saebench.interventions.kinds import Intervention
from saebench.interventions.sets import InterventionSet, UsedSAE, read_interventions
from saebench.lm import LanguageModel
from saebench.saes.files import WEIGHTS
from saebench.training.trained import Trained, open_same, read_trained


class OpenedInterventions(NamedTuple):
    """What `intervened` wants, in its order: `with intervened(*opened): …`."""

    lm: LanguageModel
    interventions: Sequence[Intervention]
    saes: Mapping[str, Hooked]


def open_saes(workspace: Path | str, *sae_ids: str) -> tuple[LanguageModel, dict[str, Hooked]]:
    """SAEs of a workspace by their ids (none named: all that are finished), and the model that they read.

    Raises:
        UserError: there is none, one is damaged, or they were trained on different models.
    """
    workspace = Path(workspace)
    known = sorted(path.parent.name for path in (workspace / "saes").glob(f"*/{WEIGHTS}"))
    for sae_id in sae_ids:
        if sae_id not in known:
            raise UserError(
                f"workspace {workspace} has no finished SAE {sae_id!r}; it has: {', '.join(known) or 'none'}"
            )
    wanted = sae_ids or known
    if not wanted:
        raise UserError(f"workspace {workspace} has no finished SAE; run `saebench train`")
    trained = {sae_id: read_trained(workspace, sae_id) for sae_id in dict.fromkeys(wanted)}
    first, *others = trained.values()
    for other in others:
        if _model(other)["sha256"] != _model(first)["sha256"]:
            raise UserError(f"SAEs {first.id} and {other.id} read different models; name SAEs of one")
    lm = open_same(_model(first), f"SAE {first.id}")
    return lm, {sae_id: _hooked(one, lm) for sae_id, one in trained.items()}


def open_interventions(workspace: Path | str, set_id: str) -> OpenedInterventions:
    """A set of interventions of a workspace with its model and SAEs.

    Raises:
        UserError: no such set, a damaged one, an SAE that is gone or not the one of the set, or another model.
        StoreError: an id that can name none.
    """
    return open_set(Path(workspace), read_interventions(Path(workspace), set_id))


def open_set(workspace: Path, kept: InterventionSet) -> OpenedInterventions:
    """As `open_interventions`, of a set that is read already."""
    trained = {}
    for name, used in kept.saes.items():
        if reason := unusable(workspace, used):
            raise UserError(f"interventions {kept.id!r} cannot be applied: {reason}")
        trained[name] = one = read_trained(workspace, used.id)
        if _model(one)["sha256"] != kept.model.get("sha256"):
            raise UserError(f"interventions {kept.id!r} are for another model than the one that SAE {used.id} reads")
        if one.hook_point != used.hook_point:
            raise UserError(
                f"interventions {kept.id!r} want SAE {used.id} at {used.hook_point}; it reads {one.hook_point}"
            )
    lm = open_same(kept.model, f"interventions {kept.id!r}")
    saes = {name: _hooked(one, lm) for name, one in trained.items()}
    check(kept.interventions, saes)
    return OpenedInterventions(lm, kept.interventions, saes)


def unusable(workspace: Path, used: UsedSAE) -> str | None:
    """Why the SAE of a set is not there as it was, if so, and what to do."""
    weights = workspace / "saes" / used.id / WEIGHTS
    if not weights.exists():
        return f"SAE {used.id} is gone; train it again or restore its folder"
    if file_sha256(weights) != used.sha256:
        return f"SAE {used.id} has changed since they were saved (its weights have another sha256); restore it"
    return None


def make_set(
    workspace: Path | str,
    set_id: str,
    lm: LanguageModel,
    interventions: Sequence[Intervention],
    saes: Mapping[str, str] | None = None,
    notes: str = "",
) -> InterventionSet:
    """A set to save with `write_interventions`.

    Args:
        workspace: where the SAEs are.
        set_id: its name.
        lm: the model.
        interventions: what to do, in order.
        saes: ids of SAEs by the names that the interventions use; none: the names are ids.
        notes: what a person says about them.

    Raises:
        UserError: an SAE is not in the workspace or reads another model.
    """
    names = dict.fromkeys(one.sae for one in interventions)
    names |= dict.fromkeys(one.when.sae for one in interventions if one.when is not None and one.when.sae is not None)
    used = {}
    for name in names:
        sae_id = saes.get(name, name) if saes else name
        if not (Path(workspace) / "saes" / sae_id / WEIGHTS).exists():
            raise UserError(f"workspace {workspace} has no finished SAE {sae_id!r} for the interventions to use")
        trained = read_trained(Path(workspace), sae_id)
        if _model(trained)["sha256"] != lm.sha256:
            raise UserError(f"SAE {sae_id} reads another model than {lm.name}; interventions are for one model")
        used[name] = UsedSAE(id=sae_id, sha256=trained.sha256, hook_point=trained.hook_point)
    return InterventionSet(
        id=set_id,
        model=lm.provenance,
        saes=used,
        interventions=tuple(interventions),
        notes=notes,
    )


def _model(trained: Trained) -> dict[str, str]:
    model: dict[str, str] = trained.provenance["model"]
    return model


def _hooked(trained: Trained, lm: LanguageModel) -> Hooked:
    return Hooked(trained.sae.to(lm.device), trained.hook_point, lm.sha256)
