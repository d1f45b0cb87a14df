"""Whether what a workspace keeps of interventions can be trusted: saved sets, unlearning runs, and unfinished ones."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from saebench.errors import UserError
from saebench.interventions.opened import checked_set
from saebench.interventions.questions import read_questions
from saebench.interventions.sets import read_interventions, set_ids
from saebench.interventions.unlearning import read_result, result_ids
from saebench.interventions.unlearning.result import work_folder, work_ids
from store import StoreError
from store.maps import weights_sha256


def check_sets(workspace: Path) -> Iterator[tuple[str, list[str]]]:
    """Every set of interventions, and what is wrong with its file or its SAEs."""
    for set_id in set_ids(workspace):
        try:
            kept = read_interventions(workspace, set_id)
        except (UserError, StoreError) as error:
            yield set_id, [str(error)]
            continue
        try:
            checked_set(workspace, kept)
        except (UserError, StoreError) as error:
            yield set_id, [f"{error}; or delete them with `saebench interventions delete {set_id}`"]
        else:
            yield set_id, []


def check_runs(workspace: Path) -> Iterator[tuple[str, list[str]]]:
    """Every unlearning run, and what is wrong with its file or its SAE; then those that are not finished."""
    for result_id in result_ids(workspace):
        try:
            found = read_result(workspace, result_id)
            problem = _sae_problem(workspace, found.sae, found.provenance)
        except (UserError, StoreError) as error:
            yield result_id, [str(error)]
            continue
        remedy = f"restore it, or delete the run with `saebench unlearn delete {result_id}`"
        yield result_id, [f"unlearning run {result_id}: {problem}; {remedy}"] if problem else []
    for result_id in work_ids(workspace):
        yield f"{result_id}, unfinished: the same command goes on", _damaged_work(work_folder(workspace, result_id))


def _sae_problem(workspace: Path, sae: str, provenance: dict[str, Any]) -> str | None:
    """How the SAE of a run is not the one that it was made with; None where it is, or no hash of it was noted."""
    if not (workspace / "saes" / sae / "sae.safetensors").exists():
        return f"SAE {sae} is gone"
    made = provenance.get("sae_sha256")
    if made not in (None, weights_sha256(workspace, sae)):
        return f"SAE {sae} has changed since (its weights have another sha256), so that its features are others"
    return None


def _damaged_work(work: Path) -> list[str]:
    """The pieces of unfinished work that the same command could not read."""
    found = []
    for path in sorted(work.rglob("*.json*")):
        try:
            if path.suffix == ".jsonl":
                read_questions(path)
            elif path.suffix == ".json":
                json.loads(path.read_bytes())
        except (UserError, OSError, ValueError):
            found.append(f"{path} is damaged; delete it and run the same command again")
    return found
