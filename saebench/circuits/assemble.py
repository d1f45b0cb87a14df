"""A discovery's numbers as a circuit: nodes and edges with their names."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from saebench.circuits.curves import error_share
from saebench.circuits.decomposition import Dictionary, Tokens
from saebench.circuits.edges import EdgeSums
from saebench.circuits.effects import NodeSums, split_key
from saebench.circuits.graph import LOGITS, Agreement, Circuit, Curve, Edge, Node, Prompt, node_id
from saebench.circuits.order import EMBEDDING, layer_of
from saebench.circuits.promoted import promoted
from saebench.corpus.tokenization import SourceTokenizer

if TYPE_CHECKING:
    from saebench.circuits.discovery import Discovery

MOST_EXAMPLES = 10


def assembled(
    run: "Discovery",
    kept: Mapping[str, NodeSums],
    sums: EdgeSums,
    curves: Sequence[Curve],
    agreement: Sequence[Agreement],
    circuit_id: str,
    sae_ids: Mapping[str, str],
    provenance: Mapping[str, Any],
) -> Circuit:
    """The circuit; nodes in the order of the sites, edges from the strongest."""
    sites = run.features.sites
    spell = _Speller(run)
    nodes = [node for site in sites for node in _nodes(run, site, kept[site.hook_point], spell)]
    nodes += _logits(run, spell)
    order = np.argsort(-np.abs(sums.weight), kind="stable")
    order = order[np.abs(sums.weight[order]) >= max(run.config.edge_threshold, np.finfo(float).tiny)]
    edges = [
        Edge(source=nodes[s].id, target=nodes[t].id, weight=float(w))
        for s, t, w in zip(sums.source[order].tolist(), sums.target[order].tolist(), sums.weight[order], strict=True)
    ]
    return Circuit(
        id=circuit_id,
        task=run.task.name,
        title=run.task.description,
        method=run.config.method,
        aggregation=run.config.aggregation,
        node_threshold=run.config.node_threshold,
        edge_threshold=run.config.edge_threshold,
        n_examples=run.n_examples,
        n_heldout=run.n_heldout,
        metric=sum(run.terms.values()),
        metric_patch=run.patched_metric(),
        sites=[site.hook_point for site in sites],
        saes=dict(sae_ids),
        nodes=nodes,
        edges=edges,
        error_share=error_share(
            [site for site in sites if site.hook_point != EMBEDDING],
            run.features.effects(run.n_examples),
            run.by_position,
        ),
        curves=list(curves),
        agreement=list(agreement),
        examples=[_prompt(run, spell, row) for row in range(min(run.n_examples, MOST_EXAMPLES))],
        provenance=dict(provenance),
    )


class _Speller:
    """Tokens as text."""

    def __init__(self, run: "Discovery") -> None:
        self.pieces = SourceTokenizer(run.lm.tokenizer).vocabulary

    def __call__(self, token: int) -> str:
        return self.pieces[token].decode(errors="replace")


def _nodes(run: "Discovery", site: Dictionary, own: NodeSums, spell: _Speller) -> list[Node]:
    out, places = [], [split_key(site, key, run.by_position) for key in own.keys.tolist()]
    features = [] if isinstance(site, Tokens) else [number for number, _ in places if number != site.n_nodes]
    tokens = promoted(run.lm, site, features, spell.pieces)
    for (number, position), effect, activation in zip(
        places, own.effect.tolist(), own.activation.tolist(), strict=True
    ):
        kind = "error" if number == site.n_nodes else "token" if isinstance(site, Tokens) else "feature"
        what = "error" if kind == "error" else number
        out.append(
            Node(
                id=node_id(site.hook_point, what, position),
                kind=kind,
                site=site.hook_point,
                layer=layer_of(site.hook_point),
                position=position,
                feature=None if kind == "error" else number,
                text=spell(number) if kind == "token" else None,
                promoted=tokens.get(number, ()),
                effect=effect,
                activation=activation,
            )
        )
    return out


def _logits(run: "Discovery", spell: _Speller) -> list[Node]:
    """A node for each term of the metric; it is named by its token where all examples have the same."""
    position = run.found_on[0].clean.shape[1] - 1 if run.by_position else None
    out = []
    for name, value in run.terms.items():
        column = {"answer": "answer", "wrong": "wrong"}.get(name)
        tokens = {
            int(token)
            for batch in run.found_on
            if column and getattr(batch, column) is not None
            for token in getattr(batch, column)
        }
        only = next(iter(tokens)) if len(tokens) == 1 else None
        out.append(
            Node(
                id=node_id(LOGITS, name, position), kind="logit", site=LOGITS, layer=run.lm.n_layers, position=position,
                feature=only, text=name if only is None else spell(only), effect=value, activation=value,
            )
        )  # fmt: skip
    return out


def _prompt(run: "Discovery", spell: _Speller, row: int) -> Prompt:
    batch = next(batch for batch in run.found_on if row in batch.rows)
    at = batch.rows.index(row)
    patch = None if batch.patch is None else [spell(token) for token in batch.patch[at].tolist()]
    return Prompt(
        clean=[spell(token) for token in batch.clean[at].tolist()],
        patch=patch,
        answer=spell(int(batch.answer[at])),
        wrong=None if batch.wrong is None else spell(int(batch.wrong[at])),
    )
