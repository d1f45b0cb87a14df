"""What the nodes of a circuit stand for: what people or explanations say of them, or else the tokens they promote."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress

from saebench.circuits import Circuit, Node
from store import Index, StoreError
from web.workspace import Workspace

TOKENS = 5


def names(here: Workspace, circuit: Circuit, nodes: Sequence[Node]) -> dict[str, str]:
    """What nodes are called, by id: by people, else by the graph itself, else by an explanation."""
    said = {node.id: node.label for node in nodes if node.label}
    by_site: defaultdict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        if node.kind == "feature" and node.feature is not None:
            by_site[node.site].append(node)
    for site, own in by_site.items():
        sae = circuit.saes.get(site)
        found = here.store.said(sae, {node.feature for node in own if node.feature is not None}) if sae else {}
        for node in own if found else []:
            one = found.get(node.feature or 0)
            if one is not None and (one.labelled or node.id not in said):
                said[node.id] = one.text
    return said


def promoting(here: Workspace, circuit: Circuit, nodes: Sequence[Node]) -> list[Node]:
    """The nodes, each feature with the tokens that it promotes most: as the circuit has them, or else, of one that was
    found before circuits had them or came from elsewhere, as an index of its SAE does.
    """
    lacking = {circuit.saes[node.site] for node in nodes if _lacks(node) and node.site in circuit.saes}
    indexes = _indexes(here, lacking) if lacking else {}
    return [_promoting(node, indexes.get(circuit.saes.get(node.site, ""))) for node in nodes]


def _lacks(node: Node) -> bool:
    return node.kind == "feature" and not node.promoted


def _promoting(node: Node, index: Index | None) -> Node:
    tokens = node.promoted
    if _lacks(node) and index is not None and node.feature is not None and node.feature < index.n_features:
        tokens = tuple(index.promoted(node.feature) or ())
    return node.model_copy(update={"promoted": tokens[:TOKENS]})


def _indexes(here: Workspace, saes: set[str]) -> dict[str, Index]:
    """An index of each SAE that has one."""
    found: dict[str, Index] = {}
    for row in here.store.indexes():
        if row["sae_id"] in saes - found.keys():
            with suppress(StoreError):  # made of other weights: the feature's own page says so
                found[row["sae_id"]] = here.store.index(row["sae_id"], row["corpus_id"])
    return found
