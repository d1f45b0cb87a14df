"""Results that have a name: `<folder>/<id>.json` in a workspace, each whole or not there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from saebench.errors import UserError
from saebench.files import atomic_write
from store.workspace import check_id

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Shelf(Generic[Model]):
    """Where the results of one kind are kept.

    Attributes:
        name: the folder's, in a workspace.
        kind: what the files hold.
        what: what one is called where there is none of a name.
        damaged: what a file should be, and the remedy: "no circuit: {}; delete it and find the circuit again".
        indent: of the JSON; None where nobody reads it.
    """

    name: str
    kind: type[Model]
    what: str
    damaged: str
    indent: int | None = None

    def folder(self, workspace: Path) -> Path:
        """Where they lie."""
        return workspace / self.name

    def path(self, workspace: Path, identifier: str) -> Path:
        """The file of one. Raises StoreError for an id that can name none."""
        return self.folder(workspace) / f"{check_id(identifier)}.json"

    def work(self, workspace: Path, identifier: str) -> Path:
        """Where an unfinished one keeps what is done so far. Raises StoreError for an id that can name none."""
        return self.folder(workspace) / ".work" / check_id(identifier)

    def work_ids(self, workspace: Path) -> list[str]:
        """The unfinished ones of a workspace, sorted."""
        return sorted(path.name for path in (self.folder(workspace) / ".work").glob("*") if path.is_dir())

    def ids(self, workspace: Path) -> list[str]:
        """Those of a workspace, sorted."""
        return sorted(path.stem for path in self.folder(workspace).glob("*.json"))

    def read(self, workspace: Path, identifier: str) -> Model:
        """One of a workspace.

        Raises:
            UserError: there is none of this name, or its file is damaged.
            StoreError: an id that can name none.
        """
        path = self.path(workspace, identifier)
        try:
            return self.kind.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise self.absent(workspace, identifier) from None
        except ValidationError as error:
            raise UserError(f"{path} is {self.damaged.format(error.errors()[0]['msg'])}") from None

    def write(self, workspace: Path, identifier: str, made: Model) -> Path:
        """Keep one under its id, instead of one that is there. Raises UserError where it cannot be written."""
        path = self.path(workspace, identifier)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(made.model_dump_json(indent=self.indent).encode())
        return path

    def delete(self, workspace: Path, identifier: str) -> None:
        """Take one away for good, damaged or not. What an unfinished one of its name has done so far stays.

        Raises:
            UserError: there is none of this name, or it cannot be removed.
            StoreError: an id that can name none.
        """
        path = self.path(workspace, identifier)
        try:
            path.unlink()
        except FileNotFoundError:
            raise self.absent(workspace, identifier) from None
        except OSError as error:
            raise UserError(f"cannot delete {path}: {error.strerror or error}") from None

    def absent(self, workspace: Path, identifier: str) -> UserError:
        """The error where there is none of a name."""
        known = ", ".join(self.ids(workspace)) or "none"
        return UserError(f"the workspace {workspace} has no {self.what} {identifier!r}; it has: {known}")
