"""The circuits of a workspace as data and pages: against the circuits themselves, counted by hand."""

import json
import re
import shutil
from pathlib import Path

import pytest
import synthetic
import synthetic_circuit
from fastapi.testclient import TestClient
from hostile import SCRIPT

import web
from saebench.circuits import Circuit
from saebench.circuits.attribution import AttributionGraph
from saebench.circuits.exchange import import_circuit
from saebench.circuits.files import read_circuit, write_circuit
from saebench.circuits.prune import by_influence
from saebench.lm import load_lm
from store import Annotations, FeatureStore


@pytest.fixture
def own(workspace: Path, tmp_path: Path) -> Path:
    """A workspace that may be written to."""
    ignored = shutil.ignore_patterns("metrics.jsonl", "catalog.duckdb.lock")
    return Path(shutil.copytree(workspace, tmp_path / "own", symlinks=True, ignore=ignored))


@pytest.fixture
def here(own: Path) -> TestClient:
    return TestClient(web.create_app(own, load_lm), "http://127.0.0.1", raise_server_exceptions=False)


@pytest.fixture
def brackets(workspace: Path) -> Circuit:
    return read_circuit(workspace, "brackets")


def test_the_list_says_how_large_and_how_faithful(client: TestClient, brackets: Circuit):
    data = client.get("/circuits.json").json()
    assert [row["id"] for row in data["circuits"]] == ["brackets", "by-position", "hostile"]
    row = data["circuits"][0]
    assert (row["n_nodes"], row["n_edges"]) == (len(brackets.nodes), len(brackets.edges))
    features = next(curve for curve in brackets.curves if curve.family == "features")
    nearest = min(features.points, key=lambda point: abs(point.threshold - brackets.node_threshold))
    assert row["faithfulness"] == nearest.faithfulness
    assert (row["judged_nodes"], row["judged_threshold"]) == (nearest.n_nodes, nearest.threshold)
    assert data["sets"] == [{"id": "demo.all-sites", "n_sites": 9}]
    assert data["tasks"][0] == "close-bracket"
    page = client.get("/circuits").text
    assert f"{nearest.n_nodes} nodes at 0.01" in page
    of_one = client.get("/circuits/brackets").text
    assert f"<dt>faithfulness with {nearest.n_nodes} nodes at threshold 0.01</dt>" in of_one
    assert SCRIPT not in page
    assert "demo.all-sites (9 sites)" in page


def test_a_damaged_circuit_is_named_and_the_rest_shown(own: Path, here: TestClient):
    (own / "circuits" / "broken.json").write_text("{")
    rows = {row["id"]: row for row in here.get("/circuits.json").json()["circuits"]}
    assert "is no circuit" in rows["broken"]["problem"]
    assert rows["brackets"]["problem"] is None
    assert "is no circuit" in here.get("/circuits").text
    assert here.get("/circuits/broken").status_code == 503


def test_a_circuit_is_served_as_it_is_kept(client: TestClient, brackets: Circuit):
    assert Circuit.model_validate(client.get("/circuits/brackets.json").json()) == brackets
    for path in ("/circuits/none.json", "/circuits/none", "/circuits/none/graph.json", "/circuits/...json"):
        assert client.get(path).status_code in {404, 422}


def test_what_is_drawn_are_all_nodes_and_edges_strongest_first(client: TestClient, brackets: Circuit):
    data = client.get("/circuits/brackets/graph.json").json()
    nodes, drawn = data["nodes"], data["edges"]
    truth = {node.id: node for node in brackets.nodes}
    assert sorted(nodes["id"]) == sorted(truth)
    sizes = [abs(effect) for effect in nodes["effect"]]
    assert sizes == sorted(sizes, reverse=True)
    for i, name in enumerate(nodes["id"]):
        assert nodes["effect"][i] == pytest.approx(truth[name].effect, rel=1e-3)
        assert data["sites"][nodes["site"][i]] == truth[name].site
    pairs = zip(drawn["source"], drawn["target"], drawn["weight"], strict=True)
    found = {(nodes["id"][source], nodes["id"][target]): weight for source, target, weight in pairs}
    assert found == {(e.source, e.target): pytest.approx(e.weight, rel=1e-3) for e in brackets.edges}
    weights = [abs(weight) for weight in drawn["weight"]]
    assert weights == sorted(weights, reverse=True)
    assert data["n_edges"] == len(brackets.edges)
    pruned = client.get("/circuits/brackets/graph.json", params={"influence": 0.5}).json()
    assert set(pruned["nodes"]["id"]) == {node.id for node in by_influence(brackets, 0.5).nodes}


def test_agreement_has_a_row_for_each_site_with_every_method(client: TestClient, brackets: Circuit):
    page = client.get("/circuits/brackets").text
    table = page.partition('<table class="agreement">')[2].partition("</table>")[0]
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in table.split("<tr>")[2:]]
    truth = {(a.site, a.method): a for a in brackets.agreement}
    assert [row[0] for row in rows] == ["all", "0 attn_out"]
    for row, site in zip(rows, ("all", "blocks.0.hook_attn_out"), strict=True):
        both = [truth[site, method] for method in ("attrib", "ig")]
        assert row[1:] == [str(both[0].n), *(f"{x:.2f}" for a in both for x in (a.pearson, a.spearman))]


def test_only_the_strongest_edges_are_sent(own: Path, here: TestClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("web.views.circuit.SENT_EDGES", 10)
    data = here.get("/circuits/brackets/graph.json").json()
    weights = sorted((abs(e.weight) for e in read_circuit(own, "brackets").edges), reverse=True)
    assert [abs(weight) for weight in data["edges"]["weight"]] == pytest.approx(weights[:10], rel=1e-3)
    assert data["n_edges"] == len(weights)


def test_a_node_with_all_that_goes_in_and_out(own: Path, here: TestClient):
    circuit = read_circuit(own, "brackets")
    degree = {node.id: sum(node.id in (e.source, e.target) for e in circuit.edges) for node in circuit.nodes}
    busy = max((node for node in circuit.nodes if node.kind == "feature"), key=lambda node: degree[node.id])
    Annotations(own).set_label(synthetic.SAE, busy.feature, "<b>brackets</b>", "x")
    data = here.get("/circuits/brackets/node.json", params={"node": busy.id}).json()
    assert (data["sae"], data["corpus"], data["said"]) == (synthetic.SAE, synthetic.CORPUS, "<b>brackets</b>")
    for side, inward in (("inputs", True), ("outputs", False)):
        truth = [e for e in circuit.edges if (e.target if inward else e.source) == busy.id]
        rows = data[side]
        assert len(rows) == data[f"n_{side}"] == len(truth)
        assert {row["node"]["id"]: row["weight"] for row in rows} == {
            (e.source if inward else e.target): e.weight for e in truth
        }
        for row in rows:
            target = busy.id if inward else row["node"]["id"]
            into = sum(abs(e.weight) for e in circuit.edges if e.target == target)
            assert row["share"] == pytest.approx(abs(row["weight"]) / into)
        sizes = [abs(row["weight"]) for row in rows]
        assert sizes == sorted(sizes, reverse=True)
    part = here.get("/circuits/brackets/node", params={"node": busy.id}).text
    assert "&lt;b&gt;brackets&lt;/b&gt;" in part
    assert f"/saes/{synthetic.SAE}/features/{busy.feature}?embed=1" in part
    assert here.get("/circuits/brackets/node.json", params={"node": "blocks.9.x/1"}).status_code == 404


def test_a_feature_of_which_nothing_is_said_shows_what_it_promotes(own: Path, here: TestClient, store: FeatureStore):
    circuit = read_circuit(own, "brackets")
    data = here.get("/circuits/brackets/graph.json").json()["nodes"]
    drawn = dict(zip(data["id"], data["promoted"], strict=True))
    for node in circuit.nodes:
        found = store.feature(synthetic.SAE, node.feature).logits().promoted if node.kind == "feature" else []
        assert drawn[node.id] == [token.text for token in found[:5]]
    edge = next(e for e in circuit.edges if drawn[e.source] and drawn[e.target])
    near = here.get("/circuits/brackets/node.json", params={"node": edge.target}).json()
    assert near["node"]["promoted"] == drawn[edge.target]
    assert {row["node"]["id"]: row["node"]["promoted"] for row in near["inputs"]} == {
        e.source: drawn[e.source] for e in circuit.edges if e.target == edge.target
    }
    ends = {"source": edge.source, "target": edge.target}
    joined = here.get("/circuits/brackets/edge.json", params=ends).json()
    assert [joined[end]["promoted"] for end in ends] == [drawn[edge.source], drawn[edge.target]]
    for part, params in (("node", {"node": edge.target}), ("edge", ends)):
        assert "promotes" in here.get(f"/circuits/brackets/{part}", params=params).text


def test_a_circuits_own_tokens_need_no_index_and_come_first(own: Path, here: TestClient):
    for name in ("brackets", "hostile"):  # of an SAE that is indexed, of SAEs that are not
        circuit = read_circuit(own, name)
        node = next(n for n in circuit.nodes if n.kind == "feature")
        own_tokens = node.model_copy(update={"promoted": (" <b>", "]]", *"abcd")})
        nodes = [own_tokens if one.id == node.id else one for one in circuit.nodes]
        write_circuit(own, circuit.model_copy(update={"id": f"own-{name}", "nodes": nodes}))
        asked = {"node": node.id}
        near = here.get(f"/circuits/own-{name}/node.json", params=asked).json()
        assert near["node"]["promoted"] == [" <b>", "]]", *"abc"]
        assert "<i>␣</i>&lt;b&gt;" in here.get(f"/circuits/own-{name}/node", params=asked).text
    pair = here.get("/circuits/compare", params={"a": "own-hostile", "b": "brackets", "show": "a"}).text
    assert "<i>␣</i>&lt;b&gt;" in pair
    assert '<td class="wide-only text">–</td>' in pair  # of the others nobody knows


def test_a_feature_of_an_sae_that_is_not_indexed_says_how_to(own: Path, here: TestClient):
    node = next(n for n in read_circuit(own, "hostile").nodes if n.kind == "feature")
    assert here.get("/circuits/hostile/node.json", params={"node": node.id}).json()["corpus"] is None
    part = here.get("/circuits/hostile/node", params={"node": node.id}).text
    assert f"saebench index --sae demo.{node.site}.topk" in part


def test_the_page_of_a_feature_names_its_circuits(own: Path, here: TestClient):
    circuit = read_circuit(own, "brackets")
    node = next(node for node in circuit.nodes if node.kind == "feature")
    address = f"/saes/{synthetic.SAE}/features/{node.feature}"
    first = here.get(address)
    assert "/circuits/brackets?node=blocks" in first.text
    again = here.get(address, headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    write_circuit(own, circuit.model_copy(update={"id": "another"}))
    now = here.get(address, headers={"if-none-match": first.headers["etag"]})
    assert now.status_code == 200
    assert "/circuits/another?node=blocks" in now.text
    absent = next(f for f in range(300) if all(n.feature != f for n in circuit.nodes) and f not in synthetic.DEAD)
    assert "/circuits/another?" not in here.get(f"/saes/{synthetic.SAE}/features/{absent}").text


def test_nodes_are_put_together_and_taken_apart(own: Path, here: TestClient):
    ids = [node.id for node in read_circuit(own, "brackets").nodes]
    early = read_circuit(own, "brackets").supernodes[0].nodes
    name = "na\u00efve <b>"
    put = here.put(f"/circuits/brackets/supernodes/{name}", json={"nodes": [ids[0], early[0], ids[0]]})
    assert put.status_code == 204
    groups = {group.name: group.nodes for group in read_circuit(own, "brackets").supernodes}
    assert groups == {"early": early[1:], name: [ids[0], early[0]]}
    assert here.get("/circuits/brackets/node.json", params={"node": ids[0]}).json()["supernode"] == name
    assert here.put(f"/circuits/brackets/supernodes/{name}", json={"nodes": ["none/1"]}).status_code == 404
    assert here.put("/circuits/brackets/supernodes/x", json={"nodes": []}).status_code == 422
    assert here.delete(f"/circuits/brackets/supernodes/{name}").status_code == 204
    assert here.delete(f"/circuits/brackets/supernodes/{name}").status_code == 404
    assert [group.name for group in read_circuit(own, "brackets").supernodes] == ["early"]


def test_a_deleted_circuit_is_gone_from_everywhere(own: Path, here: TestClient):
    node = next(one for one in read_circuit(own, "brackets").nodes if one.kind == "feature")
    feature = f"/saes/{synthetic.SAE}/features/{node.feature}"
    first = here.get(feature)
    assert "/circuits/brackets?" in first.text
    (own / "circuits" / "torn.json").write_text("{")
    for headers in ({"Origin": "https://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}):
        for method, body in (("DELETE", None), ("PATCH", {"title": "x"})):
            assert here.request(method, "/circuits/brackets", json=body, headers=headers).status_code == 403
    assert here.patch("/circuits/brackets", json={"title": " Brackets "}).status_code == 204
    assert read_circuit(own, "brackets").title == "Brackets"
    assert here.patch("/circuits/none", json={"title": "x"}).status_code == 404
    for name in ("brackets", "torn"):
        assert here.delete(f"/circuits/{name}").status_code == 204
        assert here.delete(f"/circuits/{name}").status_code == 404
    assert [row["id"] for row in here.get("/circuits.json").json()["circuits"]] == ["by-position", "hostile"]
    assert sorted(path.name for path in (own / "circuits").iterdir()) == ["by-position.json", "hostile.json"]
    for path in ("", ".json", "/graph.json", "/attribution.json"):
        assert here.get(f"/circuits/brackets{path}").status_code == 404
    again = here.get(feature, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, "/circuits/brackets?" in again.text) == (200, False)


def test_what_is_exported_can_be_imported(own: Path, here: TestClient):
    circuit = read_circuit(own, "by-position")
    node = next(node for node in circuit.nodes if node.kind == "feature")
    Annotations(own).set_label(synthetic.SAE, node.feature, "called so", "x")
    whole = here.get("/circuits/by-position/attribution.json")
    assert "attachment" in whole.headers["content-disposition"]
    back = import_circuit(AttributionGraph.model_validate(whole.json()), "by-position")
    assert next(one for one in back.nodes if one.id == node.id).label == "called so"
    plain = [one.model_copy(update={"label": None}) for one in back.nodes]
    assert back.model_copy(update={"nodes": plain}) == circuit
    params = {"node_threshold": 0.5, "edge_threshold": 0.05}
    part = here.get("/circuits/by-position/attribution.json", params=params).json()
    assert len(part["nodes"]) == sum(abs(n.effect) >= 0.5 or n.kind == "logit" for n in circuit.nodes)
    assert min(abs(link["weight"]) for link in part["links"]) >= 0.05


def test_edges_that_cannot_be_tested(own: Path, here: TestClient):
    circuit = read_circuit(own, "brackets")
    edge = circuit.edges[0]
    asked = {"source": edge.source, "target": edge.target, "examples": 4}
    assert here.get("/circuits/brackets/edge.json", params=asked).json()["edge"]["weight"] == edge.weight
    changed = circuit.model_copy(update={"id": "old", "provenance": {"task": {"sha256": "0" * 64}}})
    write_circuit(own, changed)
    refused = here.post("/circuits/old/edges/test", json=asked)
    assert refused.status_code == 422
    assert "has changed since circuit 'old' was found" in refused.json()["cause"]
    backwards = {"source": edge.target, "target": edge.source}
    assert here.post("/circuits/brackets/edges/test", json=backwards).status_code == 404
    off = TestClient(web.create_app(own), "http://127.0.0.1")
    assert off.post("/circuits/brackets/edges/test", json=asked).status_code == 503
    write_circuit(own, circuit.model_copy(update={"id": "foreign", "saes": {}}))
    assert "no SAEs" in here.post("/circuits/foreign/edges/test", json=asked).json()["cause"]


def test_two_circuits_side_by_side(own: Path, here: TestClient):
    a, b = (
        read_circuit(own, "brackets"),
        synthetic_circuit.build("second", seed=1, saes=dict(read_circuit(own, "brackets").saes)),
    )
    write_circuit(own, b)
    ids = [{node.id: node for node in circuit.nodes} for circuit in (a, b)]
    both = set(ids[0]) & set(ids[1])
    for show, wanted in (("shared", both), ("a", set(ids[0]) - both), ("b", set(ids[1]) - both)):
        seen: dict[str, dict] = {}
        for number in (1, 2):
            params = {"a": "brackets", "b": "second", "show": show, "page": number}
            data = here.get("/circuits/compare.json", params=params).json()
            seen |= {row["node"]["id"]: row for row in data["nodes"]}
        assert set(seen) == wanted
        assert data["n_nodes"][show] == len(wanted)
        for name, row in seen.items():
            assert row["effect_a"] == (ids[0][name].effect if name in ids[0] and show != "b" else None)
            assert row["effect_b"] == (ids[1][name].effect if name in ids[1] and show != "a" else None)
    hostile = here.get("/circuits/compare", params={"a": "brackets", "b": "hostile", "show": "b"})
    assert hostile.status_code == 200
    assert SCRIPT not in hostile.text
    assert here.get("/circuits/compare.json", params={"a": "brackets", "b": "none"}).status_code == 404
    assert here.get("/circuits/compare.json", params={"a": "brackets", "b": "second", "show": "c"}).status_code == 422


def test_an_empty_workspace_says_what_to_do(tmp_path: Path):
    empty = TestClient(web.create_app(tmp_path), "http://127.0.0.1")
    page = empty.get("/circuits").text
    assert f"saebench circuit set configs/demo-circuits.yaml --workspace {tmp_path}" in page
    assert "saebench circuit import graph.json --id mine" in page
    assert "No circuit yet" in empty.get("/circuits/compare").text


def test_pages_need_no_torch(workspace: Path):
    import subprocess
    import sys

    code = (
        "import sys, json; from pathlib import Path; sys.modules['torch'] = None\n"
        "import web; from fastapi.testclient import TestClient\n"
        "client = TestClient(web.create_app(Path(sys.argv[1])), 'http://127.0.0.1')\n"
        "one, pair = '/brackets', '/compare?a=brackets&b=hostile'\n"
        "paths = ['', one, one + '/graph.json', one + '/attribution.json', pair]\n"
        "print(json.dumps([client.get('/circuits' + path).status_code for path in paths]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(workspace)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [200] * 5
