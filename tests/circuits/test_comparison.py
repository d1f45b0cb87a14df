"""Two circuits side by side: against sets made by hand."""

import synthetic_circuit

from saebench.circuits.comparison import compare_circuits, summed_over_positions


def test_shared_and_not_are_those_of_sets():
    whole = synthetic_circuit.build(n_nodes=80, n_edges=300)
    ids = [node.id for node in whole.nodes]
    first, second = set(ids[:60]), set(ids[20:])

    def piece(kept: set[str], factor: float):
        return whole.model_copy(
            update={
                "nodes": [n.model_copy(update={"effect": n.effect * factor}) for n in whole.nodes if n.id in kept],
                "edges": [e for e in whole.edges if e.source in kept and e.target in kept],
            }
        )

    a, b = piece(first, 1), piece(second, 2)
    found = compare_circuits(a, b)
    assert {pair.a.id for pair in found.shared} == first & second
    assert {node.id for node in found.only_a} == first - second
    assert {node.id for node in found.only_b} == second - first
    assert all(pair.b.effect == 2 * pair.a.effect for pair in found.shared)
    edges = [{(e.source, e.target) for e in one.edges} for one in (a, b)]
    assert {(pair.a.source, pair.b.target) for pair in found.shared_edges} == edges[0] & edges[1]
    assert {(e.source, e.target) for e in found.only_a_edges} == edges[0] - edges[1]
    assert {(e.source, e.target) for e in found.only_b_edges} == edges[1] - edges[0]
    for nodes in (found.only_a, found.only_b, [pair.a for pair in found.shared]):
        sizes = [abs(node.effect) for node in nodes]
        assert sizes == sorted(sizes, reverse=True)


def test_a_number_of_another_sae_is_another_feature():
    a = synthetic_circuit.build()
    other = {site: f"other.{site}" for site in a.saes}
    found = compare_circuits(a, a.model_copy(update={"saes": other}))
    assert {pair.a.kind for pair in found.shared} == {"token", "logit"}
    assert len(found.only_a) == len(found.only_b) == len(a.nodes) - len(found.shared)


def test_positions_are_summed_where_only_one_keeps_them():
    kept = synthetic_circuit.build(positions=True, n_nodes=90)
    summed = summed_over_positions(kept)
    assert all("@" not in node.id and node.position is None for node in summed.nodes)
    for node in summed.nodes:
        own = [one.effect for one in kept.nodes if one.id.split("@")[0] == node.id]
        assert abs(sum(own) - node.effect) < 1e-12
    assert abs(sum(e.weight for e in kept.edges) - sum(e.weight for e in summed.edges)) < 1e-9
    found = compare_circuits(kept, summed)
    assert found.summed
    assert (found.only_a, found.only_b) == ([], [])
    assert not compare_circuits(kept, kept).summed
