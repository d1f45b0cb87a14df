"""`saebench unlearn list`: the unlearning runs of a workspace."""

from saebench.cli.listing import print_kept
from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.interventions.unlearning import read_result, result_ids
from saebench.wording import treated


def command(workspace: WorkspaceDir = DEFAULT_WORKSPACE) -> None:
    """List unlearning runs: what was to be forgotten, how, and what came of it."""

    def row(result_id: str) -> tuple[str, ...]:
        found = read_result(workspace, result_id)
        picked = found.picked
        shares = (f"{picked.scores.forget.value:.1%}", f"{picked.scores.controls.value:.1%}")
        return found.id, ", ".join(found.config.forget), treated(picked.treatment, picked.strength), *shares

    nothing = f"nothing is unlearned in {workspace} yet; begin with: saebench unlearn run"
    columns = ("run", "forget", "treatment", "forget right", "controls right")
    print_kept(columns, result_ids(workspace), row, nothing)
