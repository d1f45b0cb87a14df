"""Sets of interventions that have a name: `interventions/<id>.json` in a workspace, each whole or not there.

A set says which SAEs it is about by their hashes, and which model these read, so that it never acts on other features
than those that were chosen.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from saebench.errors import UserError
from saebench.interventions.kinds import AnyIntervention
from saebench.interventions.where import Condition
from saebench.shelf import Shelf


class UsedSAE(BaseModel, frozen=True, extra="forbid"):
    """An SAE of a workspace: its id, the sha256 of its weights, and the hook point that it reads."""

    id: str
    sha256: str
    hook_point: str


class InterventionSet(BaseModel, frozen=True, extra="forbid"):
    """Interventions with all that it takes to apply them again.

    Attributes:
        model: provenance of the model.
        saes: by the names that the interventions use.
        interventions: in the order in which they happen.
        notes: what a person says about them.
    """

    version: Literal[1] = 1
    id: str
    model: dict[str, str]
    saes: dict[str, UsedSAE]
    interventions: tuple[AnyIntervention, ...] = Field(min_length=1)
    notes: str = ""

    @model_validator(mode="after")
    def _named(self) -> Self:
        used: list[AnyIntervention | Condition] = list(self.interventions)
        used += [one.when for one in self.interventions if one.when is not None and one.when.sae is not None]
        for one in used:
            if one.sae not in self.saes:
                raise ValueError(f"interventions use an SAE {one.sae!r} that is not among its saes")
        return self


def by_ids(kept: InterventionSet) -> tuple[AnyIntervention, ...]:
    """A set's interventions with the ids of their SAEs in the place of the set's names for them."""

    def renamed(one: AnyIntervention) -> AnyIntervention:
        when = one.when
        if when is not None and when.sae is not None:
            when = when.model_copy(update={"sae": kept.saes[when.sae].id})
        return one.model_copy(update={"sae": kept.saes[one.sae].id, "when": when})

    return tuple(map(renamed, kept.interventions))


_SHELF = Shelf(
    "interventions",
    InterventionSet,
    "set of interventions",
    "no set of interventions: {}; correct it or save the set again",
    indent=1,
)


def set_path(workspace: Path, set_id: str) -> Path:
    """The file of a set. Raises StoreError for an id that can name none."""
    return _SHELF.path(workspace, set_id)


def set_ids(workspace: Path) -> list[str]:
    """The sets of a workspace, sorted."""
    return _SHELF.ids(workspace)


def read_interventions(workspace: Path, set_id: str) -> InterventionSet:
    """A set of a workspace.

    Raises:
        UserError: there is none of this name, or its file is damaged.
        StoreError: an id that can name none.
    """
    path = set_path(workspace, set_id)
    if not path.exists():
        raise _SHELF.absent(workspace, set_id)
    return read_file(path)


def read_file(path: Path) -> InterventionSet:
    """A set from any file. Raises UserError where it is none."""
    try:
        return InterventionSet.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        said = f"{first['msg']} at {place}" if place else first["msg"]
        raise UserError(f"{path} is {_SHELF.damaged.format(said)}") from None


def delete_interventions(workspace: Path, set_id: str) -> None:
    """Take a set away for good, damaged or not.

    Raises:
        UserError: there is none of this name, or it cannot be removed.
        StoreError: an id that can name none.
    """
    _SHELF.delete(workspace, set_id)


def write_interventions(workspace: Path | str, kept: InterventionSet) -> Path:
    """Keep a set under its id, instead of one that is there. Raises UserError where it cannot be written."""
    return _SHELF.write(Path(workspace), kept.id, kept)
