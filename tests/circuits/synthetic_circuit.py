"""Circuits of any size that look like discovered ones: tokens, features, errors and logits, edges that only go up.

python tests/circuits/synthetic_circuit.py WORKSPACE N_NODES N_EDGES ID      # then: saebench serve
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from saebench.circuits.files import write_circuit
from saebench.circuits.graph import (
    LOGITS,
    Agreement,
    Circuit,
    Curve,
    CurvePoint,
    Edge,
    Node,
    Prompt,
    Supernode,
    node_id,
)

PROMPT = ["def", " f", "(", "items", "[", "0"]
ANSWERS = ["]", ")"]
KINDS = ("hook_attn_out", "hook_mlp_out", "hook_resid_post")


def build(
    circuit_id: str = "brackets",
    n_nodes: int = 60,
    n_edges: int = 220,
    *,
    n_layers: int = 3,
    positions: bool = False,
    seed: int = 0,
    saes: Mapping[str, str] | None = None,
    text: str | None = None,
) -> Circuit:
    """A circuit of about so many nodes, the same for the same arguments; `text` becomes every token and name in it."""
    rng = np.random.default_rng(seed)
    sites = [f"blocks.{layer}.{kind}" for layer in range(n_layers) for kind in KINDS]
    nodes = {node.id: node for node in _ends(rng, n_layers, positions, text)}
    while len(nodes) < n_nodes:
        site = sites[int(rng.integers(len(sites)))]
        error = rng.random() < 0.1
        number = int(rng.integers(300))
        position = int(rng.integers(len(PROMPT))) if positions else None
        identifier = node_id(site, "error" if error else number, position)
        effect = float(np.round(rng.normal() * 10 ** rng.uniform(-2, 0.3), 6))
        nodes.setdefault(
            identifier,
            Node(
                id=identifier,
                kind="error" if error else "feature",
                site=site,
                layer=int(site.split(".")[1]),
                position=position,
                feature=None if error else number,
                effect=effect,
                activation=float(rng.uniform(0.1, 9)),
            ),
        )
    found = list(nodes.values())
    order = {site: i for i, site in enumerate(["hook_embed", *sites, LOGITS])}
    edges: dict[tuple[str, str], Edge] = {}
    for _ in range(50 * n_edges):
        a, b = (found[int(i)] for i in rng.integers(len(found), size=2))
        if order[a.site] > order[b.site]:
            a, b = b, a
        if order[a.site] == order[b.site] or b.kind in {"error", "token"}:
            continue
        weight = float(np.round(rng.normal() * 10 ** rng.uniform(-3, 0), 7))
        edges.setdefault((a.id, b.id), Edge(source=a.id, target=b.id, weight=weight))
        if len(edges) == n_edges:
            break
    inner = [node for node in found if node.kind in {"feature", "error"}]
    total = sum(abs(node.effect) for node in inner)
    return Circuit(
        id=circuit_id,
        task="close-bracket",
        title=text or "Which bracket closes what is open",
        method="ig",
        aggregation="none" if positions else "sum",
        node_threshold=0.01,
        edge_threshold=0.001,
        n_examples=100,
        metric=4.2,
        metric_patch=-3.9,
        sites=["hook_embed", *sites, LOGITS],
        saes=dict(saes) if saes is not None else {site: f"demo.{site}.topk" for site in sites},
        nodes=found,
        edges=list(edges.values()),
        error_share=sum(abs(node.effect) for node in inner if node.kind == "error") / total,
        curves=_curves(len(inner)),
        agreement=[
            Agreement(method=method, site=site, n=200, pearson=0.9, spearman=0.85)
            for method in ("attrib", "ig")
            for site in ("all", sites[0])
        ],
        examples=[Prompt(clean=[text] * 6 if text else PROMPT, patch=PROMPT, answer=text or "]", wrong=")")],
        supernodes=[Supernode(name=text or "early", nodes=[node.id for node in inner[:3]])],
        provenance={"model": {"name": "demo"}, "seed": seed},
    )


def _ends(rng: np.random.Generator, n_layers: int, positions: bool, text: str | None) -> list[Node]:
    tokens = [
        Node(
            id=node_id("hook_embed", 10 + i, i if positions else None),
            kind="token",
            site="hook_embed",
            layer=-1,
            position=i if positions else None,
            feature=10 + i,
            text=text or PROMPT[i],
            effect=float(rng.normal() / 3),
        )
        for i in range(len(PROMPT))
    ]
    logits = [
        Node(
            id=node_id(LOGITS, 90 + i, len(PROMPT) - 1 if positions else None),
            kind="logit",
            site=LOGITS,
            layer=n_layers,
            position=len(PROMPT) - 1 if positions else None,
            feature=90 + i,
            text=text or ANSWERS[i],
            effect=4.2 - 2 * i,
        )
        for i in range(len(ANSWERS))
    ]
    return tokens + logits


def _curves(n: int) -> list[Curve]:
    thresholds = np.logspace(-2, 0.3, 12)
    families = {"features": 1.0, "neurons": 0.7, "heads": 0.5, "random": 0.12}
    return [
        Curve(
            family=family,
            metric_all=4.2,
            metric_none=0.1,
            points=[
                CurvePoint(
                    threshold=float(t),
                    n_nodes=max(1, round(n * float(np.exp(-3 * i / len(thresholds))))),
                    faithfulness=float(height * np.exp(-i / 6)),
                    completeness=float(1 - height * np.exp(-i / 6)),
                )
                for i, t in enumerate(thresholds)
            ],
        )
        for family, height in families.items()
    ]


if __name__ == "__main__":
    folder, size, links, name = sys.argv[1:]
    write_circuit(Path(folder), build(name, int(size), int(links), n_layers=6))
