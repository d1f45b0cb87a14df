"""The home page: what the workspace holds, with headline figures."""

from typing import Any

from web.formats import large, quantity
from web.models.home import HomePage, Row
from web.views.describe import find, sae_headline, sae_summary
from web.views.runs import runs
from web.workspace import Workspace


def home_page(here: Workspace) -> HomePage:
    """Everything the catalogue and the folders know."""
    saes, indexes = here.saes(), here.store.indexes()
    harvests, corpora = here.catalogued("harvest"), here.catalogued("corpus")
    return HomePage(
        workspace=str(here.path),
        runs=runs(here),
        models=models(here, saes, harvests),
        saes=[sae_row(here, sae) for sae in saes],
        indexes=[Row(id=row["id"], summary=index_summary(row), info=row) for row in indexes],
        harvests=[Row(id=row["id"], summary=tokens_summary(row), info=row) for row in harvests],
        corpora=[Row(id=row["id"], summary=corpus_summary(row, indexes, harvests), info=row) for row in corpora],
    )


def sae_row(here: Workspace, sae: dict[str, Any]) -> Row:
    """One SAE in the list."""
    config, rows = here.config(sae["id"]), here.metrics(sae["id"])
    last = rows[-1] if rows else {}
    headline = sae_headline(sae, last)
    if not here.trained(sae["id"]) and rows:
        headline = [("step", large(last.get("step"))), *headline]
    return Row(id=sae["id"], summary=sae_summary(sae, config), headline=headline, info=sae)


def models(here: Workspace, saes: list[dict[str, Any]], harvests: list[dict[str, Any]]) -> list[Row]:
    """The language models that SAEs and harvests name, each with what was made of it."""
    made: dict[str, list[str]] = {str(harvest["model"]): [] for harvest in harvests if harvest.get("model")}
    for sae in saes:
        model = find(here.config(sae["id"]), "model") or find({"indexes": dict(enumerate(sae["indexes"]))}, "model")
        name = model.get("name") if isinstance(model, dict) else model
        if name:
            made.setdefault(str(name), []).append(sae["id"])
    return [
        Row(id=name, summary=f"{len(ids)} SAE{'s' * (len(ids) != 1)}", info={"saes": ids})
        for name, ids in sorted(made.items())
    ]


def index_summary(row: dict[str, Any]) -> str:
    """An index in one line."""
    parts = [
        f"{large(row['n_tokens'])} tokens",
        f"{large(row['n_features'])} features",
        f"{quantity(row['n_dead'] / row['n_features'], 'dead')} dead",
        f"L0 {quantity(row['l0'], 'l0')}",
    ]
    return " · ".join(parts)


def corpus_summary(row: dict[str, Any], indexes: list[dict[str, Any]], harvests: list[dict[str, Any]]) -> str:
    """A corpus in one line: its own figures, and how much of it was read for what."""
    indexed = max((index["n_tokens"] for index in indexes if index["corpus_id"] == row["id"]), default=0)
    harvested = max((one.get("tokens", 0) for one in harvests if one.get("corpus") == row["id"]), default=0)
    read = [f"{large(n)} tokens {what}" for n, what in ((harvested, "harvested"), (indexed, "indexed")) if n]
    return " · ".join(filter(None, [tokens_summary(row), *read]))


def tokens_summary(row: dict[str, Any]) -> str:
    """A harvest, or what is known of a corpus by itself, in one line, from whichever of the usual figures it has."""
    documents = row.get("n_documents", row.get("documents"))
    tokens = row.get("n_tokens", row.get("tokens"))
    hooks = row.get("hook_points") or []
    parts = [
        f"{large(tokens)} tokens" if isinstance(tokens, int) else "",
        f"{large(documents)} documents" if isinstance(documents, int) else "",
        str(row["model"]) if isinstance(row.get("model"), str) else "",
        ", ".join(hooks) if isinstance(hooks, list) else str(hooks),
    ]
    return " · ".join(filter(None, parts))
