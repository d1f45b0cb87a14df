"""The attribution-graph JSON: any circuit comes back as it went; files of circuit-tracer can be read."""

import json
from pathlib import Path

import pytest
import synthetic_circuit
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from saebench.circuits.attribution import AttributionGraph
from saebench.circuits.exchange import common_ids, export_circuit, graph_json, import_circuit, read_graph
from saebench.circuits.files import read_circuit, write_circuit
from saebench.circuits.graph import Circuit, Edge, Node, Supernode, node_id
from saebench.cli import app
from saebench.errors import UserError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SITES = ["hook_embed", "blocks.0.hook_attn_out", "blocks.0.hook_mlp_out", "blocks.1.hook_mlp_out", "logits"]


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    place = draw(st.integers(0, len(SITES) - 1))
    site = SITES[place]
    kind = {0: "token", len(SITES) - 1: "logit"}.get(place) or draw(st.sampled_from(["feature", "error"]))
    number = None if kind == "error" else draw(st.integers(0, 9))
    position = draw(st.none() | st.integers(0, 3))
    return Node(
        id=node_id(site, "error" if number is None else number, position),
        kind=kind,
        site=site,
        layer={0: -1, 3: 1, 4: 2}.get(place, 0),
        position=position,
        feature=number,
        text=draw(st.none() | TEXT),
        effect=draw(st.floats(-5, 5)),
        activation=draw(st.floats(0, 5)),
        label=draw(st.none() | TEXT.filter(bool)),
    )


@st.composite
def circuits(draw: st.DrawFn) -> Circuit:
    found = draw(st.lists(nodes(), min_size=1, max_size=14, unique_by=lambda node: node.id))
    ids = [node.id for node in found]
    pairs = draw(st.lists(st.tuples(st.sampled_from(ids), st.sampled_from(ids)), max_size=20))
    groups = draw(st.lists(st.tuples(TEXT, st.lists(st.sampled_from(ids), unique=True)), max_size=3))
    return synthetic_circuit.build(n_nodes=9, n_edges=1).model_copy(
        update={
            "nodes": found,
            "edges": [Edge(source=a, target=b, weight=draw(st.floats(-2, 2))) for a, b in pairs],
            "supernodes": [Supernode(name=name, nodes=members) for name, members in groups],
            "pinned": draw(st.lists(st.sampled_from(ids), unique=True)),
        }
    )


@settings(deadline=None, max_examples=80)
@given(circuits())
def test_a_circuit_comes_back_as_it_went(circuit: Circuit):
    file = json.loads(graph_json(export_circuit(circuit)))
    assert len({node["node_id"] for node in file["nodes"]}) == len(circuit.nodes)
    assert import_circuit(AttributionGraph.model_validate(file), circuit.id) == circuit


def test_ids_are_those_that_readers_expect():
    ids = common_ids(synthetic_circuit.build(positions=True, n_nodes=200))
    assert ids["hook_embed/12@2"] == "E_12_2"
    assert ids["logits/90@5"] == "4_90_5"
    inner = [(ours, theirs) for ours, theirs in ids.items() if ours.startswith("blocks")]
    for ours, theirs in inner:
        site, _, rest = ours.partition("/")
        what, _, position = rest.partition("@")
        assert theirs.split("_")[:3] == [site.split(".")[1], what, position]
        assert theirs.endswith(site)
    alone = synthetic_circuit.build(positions=True)
    one = [node for node in alone.nodes if node.site == "blocks.0.hook_mlp_out"]
    edges: list[Edge] = []
    ids = common_ids(alone.model_copy(update={"nodes": one, "edges": edges}))
    for node in one:
        assert ids[node.id] == f"0_{'error' if node.kind == 'error' else node.feature}_{node.position}"


def test_what_was_changed_on_the_way_is_taken_over():
    circuit = synthetic_circuit.build(positions=True)
    file = json.loads(graph_json(export_circuit(circuit, {circuit.nodes[12].id: "called so in the store"})))
    assert file["nodes"][12]["clerp"] == "called so in the store"
    file["nodes"][13]["clerp"] = "<script>"
    file["qParams"]["supernodes"] = [["mine", file["nodes"][3]["node_id"], file["nodes"][4]["node_id"], "gone"]]
    file["qParams"]["pinnedIds"] = ",".join(node["node_id"] for node in file["nodes"][5:7])
    back = import_circuit(AttributionGraph.model_validate(file), "other")
    assert back.id == "other"
    assert [node.label for node in back.nodes[12:14]] == ["called so in the store", "<script>"]
    assert back.supernodes == [Supernode(name="mine", nodes=[circuit.nodes[3].id, circuit.nodes[4].id])]
    assert back.pinned == [node.id for node in circuit.nodes[5:7]]


def foreign() -> dict:
    """As circuit-tracer writes a graph of a model with three layers."""

    def one(node_id: str, layer: str, ctx_idx: int, kind: str, **more: object) -> dict:
        return {"node_id": node_id, "feature": 1, "layer": layer, "ctx_idx": ctx_idx, "feature_type": kind,
                "jsNodeId": node_id, "clerp": "", "run_idx": 0, "extra": [1], **more}  # fmt: skip

    transcoder, error = "cross layer transcoder", "mlp reconstruction error"
    return {
        "metadata": {"slug": "france", "scan": "gemma-2-2b", "prompt_tokens": ["<bos>", " Paris"], "prompt": " Paris",
                     "node_threshold": 0.8, "feature_details": {"neuronpedia_source_set": "x"}},
        "qParams": {"pinnedIds": ["2_9_1"], "supernodes": [["capital", "0_5_1", "2_9_1"]], "linkType": "both",
                    "clickedId": "2_9_1", "sg_pos": ""},
        "nodes": [
            one("E_23_1", "E", 1, "embedding"),
            one("0_7_1", "0", 1, transcoder, activation=2.5, clerp="cities"),
            one("2_9_1", "2", 1, transcoder, activation=4.0, clerp="capital of"),
            one("0_2_1", "2", 1, error, feature=-1),
            one("0_5_1", "0", 1, transcoder),
            one("4_77_1", "4", 1, "logit", token_prob=0.75, is_target_logit=True, clerp='Output " France" (p=0.750)'),
            one("4_78_1", "4", 1, "logit", token_prob=0.25, clerp='Output " "x"" (p=0.250)'),
        ],
        "links": [
            {"source": "E_23_1", "target": "0_7_1", "weight": 1.0},
            {"source": "0_7_1", "target": "2_9_1", "weight": 3.0},
            {"source": "0_2_1", "target": "4_77_1", "weight": -1.0},
            {"source": "2_9_1", "target": "4_77_1", "weight": 1.0},
            {"source": "0_5_1", "target": "2_9_1", "weight": 1.0},
        ],
    }  # fmt: skip


def test_a_graph_of_circuit_tracer():
    circuit = import_circuit(AttributionGraph.model_validate(foreign()), "france")
    ids = [node.id for node in circuit.nodes]
    assert ids == [
        "hook_embed/23@1", "blocks.0.hook_mlp_out/7@1", "blocks.2.hook_mlp_out/9@1", "blocks.2.hook_mlp_out/error@1",
        "blocks.0.hook_mlp_out/5@1", "logits/77@1", "logits/78@1",
    ]  # fmt: skip
    assert [node.layer for node in circuit.nodes] == [-1, 0, 2, 2, 0, 3, 3]
    assert [node.label for node in circuit.nodes] == [None, "cities", "capital of", None, None, None, None]
    assert [node.text for node in circuit.nodes if node.text] == [" Paris", " France", ' "x"']
    assert circuit.supernodes == [Supernode(name="capital", nodes=[ids[4], ids[2]])]
    assert circuit.pinned == [ids[2]]
    assert circuit.sites == ["hook_embed", "blocks.0.hook_mlp_out", "blocks.2.hook_mlp_out", "logits"]
    effects = [node.effect for node in circuit.nodes]
    half = 0.75 / 2
    assert effects == pytest.approx([0.75 * half, 0.75 * half, half, half, 0.25 * half, 0.75, 0.25])
    again = json.loads(graph_json(export_circuit(circuit)))
    assert [node["node_id"] for node in again["nodes"]] == [
        "E_23_1", "0_7_1", "2_9_1", "2_error_1", "0_5_1", "4_77_1", "4_78_1"
    ]  # fmt: skip
    assert import_circuit(AttributionGraph.model_validate(again), "france") == circuit


def test_an_error_with_the_id_of_a_feature_stays_a_node_of_its_own():
    file = foreign()
    file["nodes"][4]["node_id"] = "0_2_1"  # feature 2 of layer 0 beside the error of layer 2
    file["links"] = [link for link in file["links"] if link["source"] != "0_5_1"]
    file["links"].append({"source": "E_23_1", "target": "0_2_1", "weight": 0.5})
    circuit = import_circuit(AttributionGraph.model_validate(file), "x")
    assert {"blocks.0.hook_mlp_out/2@1", "blocks.2.hook_mlp_out/error@1"} <= {node.id for node in circuit.nodes}
    assert Edge(source="hook_embed/23@1", target="blocks.0.hook_mlp_out/2@1", weight=0.5) in circuit.edges
    assert circuit.provenance["imported"]["links_left_out"] == 1


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda f: f["links"].append({"source": "1_1_1", "target": "2_9_1", "weight": 1}), "'1_1_1', which is no node"),
        (lambda f: f["nodes"].append(f["nodes"][1]), "twice"),
        (lambda f: f["links"].append({"source": "2_9_1", "target": "0_7_1", "weight": 1}), "round in a circle"),
        (lambda f: f["nodes"][1].update(layer="x"), "no number"),
        (lambda f: f["nodes"][1].pop("ctx_idx"), "nodes.1.ctx_idx"),
        (lambda f: f.update(nodes=[]), "nodes"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, break_it, said: str):
    file = foreign()
    break_it(file)
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(file))
    with pytest.raises(UserError, match=said):
        import_circuit(read_graph(path), "x")


def test_a_file_that_is_none(tmp_path: Path):
    (tmp_path / "x").write_text("{")
    for name, said in [("x", "is not JSON"), ("y", "cannot read")]:
        with pytest.raises(UserError, match=said):
            read_graph(tmp_path / name)


def test_commands_carry_circuits_to_and_fro(tmp_path: Path):
    run = CliRunner()
    where = ["--workspace", str(tmp_path)]
    assert "no circuit" in run.invoke(app, ["circuit", "list", *where]).output
    circuit = synthetic_circuit.build(positions=True)
    write_circuit(tmp_path, circuit)
    file = str(tmp_path / "deep" / "out.json")
    assert run.invoke(app, ["circuit", "export", circuit.id, file, *where]).exit_code == 0
    assert run.invoke(app, ["circuit", "import", file, "--id", "copy", *where]).exit_code == 0
    assert read_circuit(tmp_path, "copy") == circuit.model_copy(update={"id": "copy"})
    refused = run.invoke(app, ["circuit", "import", file, "--id", "copy", *where])
    assert "choose another --id" in str(refused.exception)
    assert run.invoke(app, ["circuit", "import", file, "--id", "copy", "--replace", *where]).exit_code == 0
    assert run.invoke(app, ["circuit", "export", circuit.id, file, "--influence", "0.5", *where]).exit_code == 0
    assert len(read_graph(Path(file)).nodes) < len(circuit.nodes)
    listed = run.invoke(app, ["circuit", "list", *where]).output
    assert "brackets" in listed
    assert "copy" in listed
