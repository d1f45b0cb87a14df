"""Features in one row each: what tables of features of several SAEs show."""

from collections.abc import Sequence

from web.models.summary import FeatureSummary
from web.workspace import Workspace

_COLUMNS = ("feature", "label", "promoted", "density", "max_activation")


def summaries(here: Workspace, features: Sequence[tuple[str, int]], corpus: str | None = None) -> list[FeatureSummary]:
    """Features (SAE, number) as rows, in the order given. A feature that no index holds has only its number.

    Args:
        here: the workspace.
        features: which; of any SAEs.
        corpus: whose index, where an SAE has several; None takes the first.
    """
    found = {
        (sae, row.feature): row
        for sae in dict.fromkeys(sae for sae, _ in features)
        for row in _of_one_sae(here, sae, [feature for own, feature in features if own == sae], corpus)
    }
    return [found.get(one) or FeatureSummary(sae=one[0], feature=one[1]) for one in features]


def _of_one_sae(here: Workspace, sae: str, features: Sequence[int], corpus: str | None) -> list[FeatureSummary]:
    corpora = [index["corpus_id"] for index in here.store.indexes() if index["sae_id"] == sae]
    if not corpora:
        return []
    among = f"feature IN ({', '.join(map(str, features))})"
    rows = here.store.features(sae, corpus if corpus in corpora else corpora[0]).filter(among).select(*_COLUMNS).rows()
    explained = here.store.explanations(sae).filter(among).select("feature", "text").rows()
    best = {row["feature"]: row["text"] for row in reversed(explained)}
    return [
        FeatureSummary(sae=sae, explanation=best.get(row["feature"]), **{**row, "promoted": row["promoted"] or []})
        for row in rows
    ]
