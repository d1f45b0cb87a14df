"""`saebench interventions list`: the saved sets of a workspace."""

from saebench.cli.listing import print_kept
from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.interventions.sets import read_interventions, set_ids


def command(workspace: WorkspaceDir = DEFAULT_WORKSPACE) -> None:
    """List saved interventions: how many of which kinds, on which SAEs."""

    def row(set_id: str) -> tuple[str, ...]:
        found = read_interventions(workspace, set_id)
        features = {(one.sae, feature) for one in found.interventions for feature in one.features}
        kinds = ", ".join(dict.fromkeys(one.label for one in found.interventions))
        saes = ", ".join(dict.fromkeys(used.id for used in found.saes.values()))
        return set_id, kinds, f"{len(features):,}", saes, found.notes

    how = "saebench steer PROMPT --feature 12 --add 2 --save NAME"
    nothing = f"no interventions are saved in {workspace} yet; save some with: {how}"
    print_kept(("interventions", "kinds", "features", "SAEs", "notes"), set_ids(workspace), row, nothing)
