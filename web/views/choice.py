"""Which SAE a page works with, where it has to be chosen."""

from web.errors import ProblemError
from web.workspace import Row, Workspace


def indexed_saes(here: Workspace) -> list[str]:
    """SAEs with an index and with weights, by id."""
    return [row["id"] for row in here.saes() if row["indexes"] and here.trained(row["id"])]


def saved_names(here: Workspace) -> list[str]:
    """Saved interventions that can be chosen."""
    return [row.id for row in here.interventions.sets() if row.problem is None]


def chosen_index(here: Workspace, sae: str | None, corpus: str | None) -> Row:
    """The index of an SAE on a corpus; of the first SAE that has one where none is named. Raises ProblemError 404."""
    if sae:
        return here.index(sae, corpus)
    known = indexed_saes(here)
    if not known:
        remedy = "Make one with: saebench demo"
        raise ProblemError(404, "No index", "This workspace holds no SAE with weights and an index.", remedy)
    return here.index(known[0], corpus)
