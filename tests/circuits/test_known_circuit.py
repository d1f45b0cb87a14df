"""The circuit that was built into a transformer by hand is the one that is found, node by node and edge by edge."""

from itertools import pairwise
from pathlib import Path

import pytest
from induction import SITES, built_edges, built_features, built_heads, built_lm, built_saes, built_task

from saebench.circuits.batches import batches, logit_difference
from saebench.circuits.config import CircuitConfig
from saebench.circuits.discover import discover
from saebench.circuits.family import effects_of
from saebench.circuits.graph import Circuit, split_node_id
from saebench.circuits.sites import head_sites
from saebench.circuits.tasks import Pair, Task
from saebench.circuits.tasks.check import check_task
from saebench.lm import LanguageModel


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return built_lm()


def found(lm: LanguageModel, pair: Pair, work: Path, method: str, reference: str = "pairs") -> Circuit:
    config = CircuitConfig(
        method=method, reference=reference, aggregation="none", node_threshold=0.5, edge_threshold=0.5,
        curve_points=0, sampled_nodes=0,
    )  # fmt: skip
    task = Task(name="one", templated=True, pairs=(pair,))
    return discover(lm, built_saes(), task, config, work, "one")


def scores(mine: set, truth: set) -> tuple[float, float]:
    """(precision, recall)."""
    return len(mine & truth) / max(len(mine), 1), len(mine & truth) / len(truth)


@pytest.mark.parametrize("method", ["ig", "exact"])
def test_the_features_of_the_built_circuit_are_found(lm: LanguageModel, tmp_path: Path, method: str):
    for number, pair in enumerate(built_task(4).pairs):
        circuit = found(lm, pair, tmp_path / str(number), method)
        nodes = {node.id for node in circuit.nodes if node.kind == "feature"}
        precision, recall = scores(nodes, built_features(pair))
        assert precision >= 0.95, nodes - built_features(pair)
        assert recall >= 0.95, built_features(pair) - nodes


def test_what_writes_an_answer_promotes_it(lm: LanguageModel, tmp_path: Path):
    """Nothing is normed between the last site and the unembedding, which reads one direction for each token."""
    [pair] = built_task(1).pairs
    circuit = found(lm, pair, tmp_path / "w", "attrib")
    site = circuit.sites[-1]
    W_dec, last = built_saes()[site].W_dec.detach(), [node for node in circuit.nodes if node.site == site]
    logits = {node: W_dec[node.feature] @ lm.bridge.W_U for node in last if node.kind == "feature"}
    answers = {node: own for node, own in logits.items() if own.max() > 2 * own.sort().values[-2].abs()}
    assert answers
    for node, own in answers.items():
        assert node.promoted[0] == lm.tokenizer.decode([int(own.argmax())])


def test_one_gradient_misses_what_a_saturated_softmax_reads(lm: LanguageModel, tmp_path: Path):
    """The induction head's attention is all but decided, so the gradient through it is not: why ig is the default."""
    [pair] = built_task(1).pairs
    circuit = found(lm, pair, tmp_path / "w", "attrib")
    nodes = {node.id for node in circuit.nodes if node.kind == "feature"}
    precision, recall = scores(nodes, built_features(pair))
    assert precision >= 0.95
    assert 0 < recall < 0.95


def test_with_nothing_for_a_patch(lm: LanguageModel, tmp_path: Path):
    [pair] = built_task(1).pairs
    alone = pair.model_copy(update={"patch": None, "wrong": None})
    circuit = found(lm, alone, tmp_path / "w", "exact", "zero")
    nodes = {node.id for node in circuit.nodes if node.kind == "feature"}
    precision, recall = scores(nodes, built_features(pair, zero=True))
    assert precision >= 0.95, nodes - built_features(pair, zero=True)
    assert recall >= 0.95, built_features(pair, zero=True) - nodes


def test_the_edges_of_the_built_circuit_are_found(lm: LanguageModel, tmp_path: Path):
    """Wherever one site acts on the next by what it writes; what only moves attention has no gradient here."""
    names = list(SITES)
    linear = [(up, down) for up, down in pairwise(names) if down != "blocks.1.attn.hook_z"]
    for number, pair in enumerate(built_task(3).pairs):
        circuit = found(lm, pair, tmp_path / str(number), "ig")
        edges = {(edge.source, edge.target) for edge in circuit.edges}
        for up, down in linear:
            truth = built_edges(pair, up, down)
            mine = {edge for edge in edges if (split_node_id(edge[0])[0], split_node_id(edge[1])[0]) == (up, down)}
            precision, recall = scores(mine, truth)
            assert (precision, recall) >= (0.95, 0.95), (up, down, mine ^ truth)


@pytest.mark.parametrize("method", ["ig", "exact"])
def test_the_heads_of_the_built_circuit_are_found(lm: LanguageModel, method: str):
    sites = head_sites(lm)
    task = built_task(20)
    config = CircuitConfig(method=method)  # type: ignore[arg-type]
    sums: dict[tuple[int, int], float] = {}
    for batch in batches(check_task(task, lm.tokenizer, lm.context_length), 20):
        effects = effects_of(lm, batch, sites, {}, logit_difference, config)
        for layer, site in enumerate(sites):
            own = effects.nodes[site.hook_point]
            for key, effect in zip(own.keys.tolist(), own.effect.tolist(), strict=True):
                sums[layer, key] = sums.get((layer, key), 0.0) + effect / 20
    mine = {head for head, effect in sums.items() if abs(effect) >= 0.5}
    assert scores(mine, built_heads()) == (1, 1)
