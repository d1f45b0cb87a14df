"""The unlearning runs and saved interventions of a workspace as requests see them.

Lists are read without torch, a few fields of each file; a run or a set as a whole is a value of
`saebench.interventions`, which needs it, and is imported when the first is asked for.
"""

import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from saebench.wording import treated
from store import StoreError
from store.workspace import check_id
from web.errors import ProblemError
from web.files import Changed, checked_id, state_of
from web.models.interventions import RunSummary, SavedSummary

if TYPE_CHECKING:
    from saebench.interventions import InterventionSet
    from saebench.interventions.unlearning import UnlearningResult

RUNS, SAVED = "unlearning", "interventions"
"""Folders of a workspace."""
RECIPES = "recipes"
"""Below that of the runs: what the dashboard was asked for."""


class Interventions:
    """One per app. Changes that people make are written one after the other."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self.writing = threading.RLock()
        self._run = lru_cache(maxsize=8)(self._run_now)
        self._saved = lru_cache(maxsize=64)(self._saved_now)
        self._row = lru_cache(maxsize=512)(_row)

    def run(self, run_id: str) -> "UnlearningResult":
        """An unlearning run. Raises ProblemError 404, UserError where its file is damaged."""
        return self._run(run_id, self._there(RUNS, run_id, "unlearning run"))

    def saved(self, set_id: str) -> "InterventionSet":
        """A set of interventions. Raises ProblemError 404, UserError where its file is damaged."""
        return self._saved(set_id, self._there(SAVED, set_id, "set of interventions"))

    def made_at(self, run_id: str) -> float:
        """When a run was finished, seconds since 1970. Raises ProblemError 404."""
        return self._there(RUNS, run_id, "unlearning run")[0] / 1e9

    def runs(self) -> list[RunSummary]:
        """All runs in one row each; of a damaged one, what is wrong."""
        return [self._row(self._file(RUNS, one), state, _run_row) for one, state in self._all(RUNS)]

    def sets(self) -> list[SavedSummary]:
        """All sets of interventions in one row each; of a damaged one, what is wrong."""
        return [self._row(self._file(SAVED, one), state, _saved_row) for one, state in self._all(SAVED)]

    def recipe(self, run_id: str) -> Path:
        """Where what is asked for under an id is written. Raises StoreError for an id that can name none."""
        return self._workspace / RUNS / RECIPES / f"{check_id(run_id)}.yaml"

    def delete_run(self, run_id: str) -> None:
        """Take a run away, damaged or not. Raises ProblemError 404."""
        self._delete(RUNS, run_id, "unlearning run")

    def delete_saved(self, set_id: str) -> None:
        """Take a set away, damaged or not. Raises ProblemError 404."""
        self._delete(SAVED, set_id, "set of interventions")

    def change(self, set_id: str, how: "Callable[[InterventionSet], InterventionSet]") -> "InterventionSet":
        """Write a set as `how` makes it of what it is now; with another id it moves there.

        Raises:
            ProblemError: no such set (404), or the new id is taken (409).
        """
        from saebench.interventions import write_interventions

        with self.writing:
            changed = how(self.saved(set_id))
            if changed.id != set_id:
                self.check_free(changed.id)
            write_interventions(self._workspace, changed)
            if changed.id != set_id:
                self.delete_saved(set_id)
            return changed

    def keep(self, made: "InterventionSet") -> None:
        """Write a new set. Raises ProblemError 409 where its id is taken, 422 where it can be none."""
        from saebench.interventions import write_interventions

        with self.writing:
            self.check_free(made.id)
            write_interventions(self._workspace, made)

    def check_free(self, set_id: str) -> None:
        """Raise ProblemError unless a new set can have this id."""
        checked_id(set_id)
        if self._file(SAVED, set_id).exists():
            cause = f"This workspace has interventions {set_id!r} already."
            raise ProblemError(409, "That name is taken", cause, "Choose another.")

    def _all(self, folder: str) -> list[tuple[str, Changed]]:
        found = ((path.stem, state_of(path)) for path in sorted((self._workspace / folder).glob("*.json")))
        return [(one, state) for one, state in found if state is not None]

    def _file(self, folder: str, name: str) -> Path:
        return self._workspace / folder / f"{name}.json"

    def _there(self, folder: str, name: str, what: str) -> Changed:
        try:
            state = state_of(self._file(folder, check_id(name)))
        except StoreError:
            state = None
        if state is None:
            remedy = "The page of interventions lists those that it has."
            raise ProblemError(404, f"No such {what}", f"This workspace has no {what} {name!r}.", remedy)
        return state

    def _delete(self, folder: str, name: str, what: str) -> None:
        with self.writing:
            self._there(folder, name, what)
            self._file(folder, name).unlink(missing_ok=True)

    def _run_now(self, run_id: str, _changed: Changed) -> "UnlearningResult":
        from saebench.interventions.unlearning import read_result

        return read_result(self._workspace, run_id)

    def _saved_now(self, set_id: str, _changed: Changed) -> "InterventionSet":
        from saebench.interventions import read_interventions

        return read_interventions(self._workspace, set_id)


def _row(path: Path, _changed: Changed, read: Callable[[str, Any], Any]) -> Any:
    try:
        return read(path.stem, orjson.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = "it is not JSON" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        return read(path.stem, None).model_copy(update={"problem": f"{path} cannot be read: {said}; delete it"})


def _run_row(run_id: str, kept: Any) -> RunSummary:
    if kept is None:
        return RunSummary(id=run_id)
    picked = kept["picked"]
    return RunSummary(
        id=run_id,
        sae=kept["sae"],
        forgets=list(kept["config"]["forget"]),
        method=kept["config"]["choose"]["method"],
        forget=picked["scores"]["forget"]["value"],
        controls=picked["scores"]["controls"]["value"],
        treatment=picked["treatment"],
        strength=picked["strength"],
        picked=treated(picked["treatment"], picked["strength"]),
    )


def _saved_row(set_id: str, kept: Any) -> SavedSummary:
    if kept is None:
        return SavedSummary(id=set_id)
    saes = [used["id"] for used in kept["saes"].values()]
    return SavedSummary(id=set_id, saes=saes, n=len(kept["interventions"]), notes=kept.get("notes", ""))
