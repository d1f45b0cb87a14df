"""Features with what is said of them and the feature nearest to them: what a list of features shows.

Decisions:
- The best explanation of a feature is that of the highest score, whatever corpus its examples came from.
- An SAE without explanations is spared their grouping: sorting a list must stay a matter of milliseconds.
"""

from store.index import Index
from store.reading import literal

COLUMNS = ("explanation", "explanation_score", "nearest", "nearest_cosine")


def _explanations(sae: str) -> str:
    """The best explanation of each feature that has one: feature, explanation, explanation_score."""
    order = "ORDER BY score DESC NULLS LAST, method, version, text"
    return f"""SELECT feature, first(text {order}) AS explanation, first(score {order}) AS explanation_score
               FROM memory.main.explanation WHERE sae = {literal(sae)} GROUP BY feature"""


def described(index: Index, sae: str, features: str) -> str:
    """The query `features` (of an SAE's features with their labels), and beside its columns those of COLUMNS:
    `explanation` and `explanation_score` (the best, or NULL), `nearest` and `nearest_cosine` (the feature with the
    nearest decoder row; NULL if none is stored).
    """
    explained = bool(index.rows(f"SELECT 1 FROM memory.main.explanation WHERE sae = {literal(sae)} LIMIT 1"))
    none = "SELECT NULL::INTEGER AS feature, NULL::VARCHAR AS explanation, NULL::DOUBLE AS explanation_score LIMIT 0"
    said = _explanations(sae) if explained else none
    near = f"""SELECT feature, neighbour AS nearest, cosine AS nearest_cosine
               FROM {index.table("neighbour")} WHERE rank = 0"""
    return f"""SELECT f.*, e.explanation, e.explanation_score, n.nearest, n.nearest_cosine
               FROM ({features}) AS f LEFT JOIN ({said}) AS e USING (feature) LEFT JOIN ({near}) AS n USING (feature)"""
