"""SAEs and sets of interventions of a workspace, opened together with the model that they are made for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from saebench.errors import UserError
from saebench.interventions.apply import Hooked, check
from saebench.interventions.gates import asked_of
from saebench.interventions.kinds import Intervention
from saebench.interventions.sets import InterventionSet, UsedSAE, read_interventions
from saebench.lm import LanguageModel
from saebench.saes.files import WEIGHTS
from saebench.training.trained import Trained, open_same, read_trained
from store.maps import weights_sha256
from store.workspace import check_id


class OpenedInterventions(NamedTuple):
    """What `intervened` wants, in its order: `with intervened(*opened): …`."""

    lm: LanguageModel
    interventions: Sequence[Intervention]
    saes: Mapping[str, Hooked]


@dataclass(frozen=True)
class Checked:
    """Interventions that fit their SAEs, before the model is opened, which takes longer than all the rest.

    Attributes:
        interventions: what to do, in order.
        saes: by the names that they use.
        model: provenance of the model.
        reader: what was made for the model, in errors.
    """

    interventions: Sequence[Intervention]
    saes: Mapping[str, Trained]
    model: Mapping[str, str]
    reader: str

    def open(self) -> OpenedInterventions:
        """All of it with the model. Raises UserError where that is not the one that they are for."""
        lm = open_same(self.model, self.reader)
        return OpenedInterventions(lm, self.interventions, {name: hooked(one, lm) for name, one in self.saes.items()})


def open_saes(workspace: Path | str, *sae_ids: str) -> tuple[LanguageModel, dict[str, Hooked]]:
    """SAEs of a workspace by their ids (none named: all that are finished), and the model that they read.

    Raises:
        UserError: there is none, one is damaged, or they were trained on different models.
    """
    lm, _, saes = _checked(read_saes(Path(workspace), *sae_ids), ()).open()
    return lm, dict(saes)


def read_saes(workspace: Path, *sae_ids: str) -> dict[str, Trained]:
    """The same without the model.

    Raises:
        UserError: there is none, one is damaged, or they were trained on different models.
    """
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
    return trained


def checked(workspace: Path, interventions: Sequence[Intervention]) -> Checked:
    """Interventions that name SAEs of a workspace by their ids.

    Raises:
        UserError: there is no such SAE or feature, one is damaged, or they were trained on different models.
    """
    names = [one.sae for one in interventions] + [asked.sae for asked in asked_of(interventions)]
    return _checked(read_saes(workspace, *dict.fromkeys(names)), interventions)


def _checked(saes: Mapping[str, Trained], interventions: Sequence[Intervention]) -> Checked:
    check(interventions, saes)
    first = next(iter(saes.values()))
    return Checked(interventions, saes, _model(first), f"SAE {first.id}")


def open_on(lm: LanguageModel, workspace: Path, *sae_ids: str) -> dict[str, Hooked]:
    """SAEs of a workspace by their ids, for a model that is open.

    Raises:
        UserError: there is none of a name, one is damaged or reads another model.
    """
    trained = read_saes(workspace, *sae_ids) if sae_ids else {}
    for one in trained.values():
        if _model(one)["sha256"] != lm.sha256:
            raise UserError(f"SAE {one.id} reads another model than {lm.name}; interventions are for one model")
    return {sae_id: hooked(one, lm) for sae_id, one in trained.items()}


def open_interventions(workspace: Path | str, set_id: str) -> OpenedInterventions:
    """A set of interventions of a workspace with its model and SAEs.

    Raises:
        UserError: no such set, a damaged one, an SAE that is gone or not the one of the set, or another model.
        StoreError: an id that can name none.
    """
    return open_set(Path(workspace), read_interventions(Path(workspace), set_id))


def open_set(workspace: Path, kept: InterventionSet) -> OpenedInterventions:
    """As `open_interventions`, of a set that is read already."""
    return checked_set(workspace, kept).open()


def checked_set(workspace: Path, kept: InterventionSet) -> Checked:
    """The interventions of a set.

    Raises:
        UserError: an SAE that is gone or not the one of the set, or reads another model; a feature that is not there.
    """
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
    check(kept.interventions, trained)
    return Checked(kept.interventions, trained, kept.model, f"interventions {kept.id!r}")


def unusable(workspace: Path, used: UsedSAE) -> str | None:
    """Why the SAE of a set is not there as it was, if so, and what to do. Raises StoreError for an id of none."""
    if not (workspace / "saes" / check_id(used.id) / WEIGHTS).exists():
        return f"SAE {used.id} is gone; train it again or restore its folder"
    if weights_sha256(workspace, used.id) != used.sha256:
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


def hooked(trained: Trained, lm: LanguageModel) -> Hooked:
    """An SAE where the model can be intervened on with it."""
    return Hooked(trained.sae.to(lm.device), trained.hook_point, lm.sha256)
