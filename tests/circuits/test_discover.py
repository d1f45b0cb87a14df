"""A whole discovery on a tiny model: what comes out, killed in the middle, and inputs that cannot work."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from saebench.circuits.batches import single
from saebench.circuits.config import CircuitConfig
from saebench.circuits.discover import discover
from saebench.circuits.graph import Circuit, split_node_id
from saebench.circuits.tasks import Pair, Task
from saebench.circuits.tasks.check import check_task
from saebench.circuits.testing import cut_edge
from saebench.errors import UserError
from saebench.lm import LanguageModel
from saebench.saes import SAE, TopK

POINTS = [f"blocks.{layer}.hook_{kind}" for layer in range(3) for kind in ("attn_out", "mlp_out", "resid_post")]
CONFIG = CircuitConfig(
    node_threshold=0.01, edge_threshold=0.001, examples=8, heldout=4, batch=3, curve_points=4, sampled_nodes=6
)


@pytest.fixture(scope="module")
def saes() -> dict[str, SAE]:
    return {name: SAE.create(32, 48, TopK(k=6), seed).eval() for seed, name in enumerate(POINTS)}


@pytest.fixture(scope="module")
def task() -> Task:
    names = "abcdefghijkl"
    pairs = [
        Pair(clean=f"{a};{b};x", patch=f"{b};{a};x", answer="=", wrong=")")
        for a, b in zip(names, names[1:] + "m", strict=True)
    ]
    return Task(name="letters", templated=True, pairs=tuple(pairs))


@pytest.fixture(scope="module")
def circuit(
    tiny_lm: LanguageModel, saes: dict[str, SAE], task: Task, tmp_path_factory: pytest.TempPathFactory
) -> Circuit:
    return discover(tiny_lm, saes, task, CONFIG, tmp_path_factory.mktemp("found") / "letters", "letters")


def test_a_circuit_says_what_it_is(circuit: Circuit, task: Task):
    assert (circuit.n_examples, circuit.n_heldout) == (8, 4)
    assert circuit.sites[0] == "hook_embed"
    assert circuit.sites[1:] == POINTS
    assert all(abs(node.effect) >= 0.01 for node in circuit.nodes if node.kind != "logit")
    assert [abs(edge.weight) for edge in circuit.edges] == sorted((abs(e.weight) for e in circuit.edges), reverse=True)
    order = {site: i for i, site in enumerate([*circuit.sites, "logits"])}
    assert all(order[split_node_id(e.source)[0]] < order[split_node_id(e.target)[0]] for e in circuit.edges)
    assert circuit.provenance["task"]["sha256"] == task.sha256
    assert circuit.examples[0].answer == "="
    assert Circuit.model_validate_json(circuit.model_dump_json()) == circuit
    assert {a.site for a in circuit.agreement} >= {"all"}


def test_a_feature_says_what_its_direction_promotes(circuit: Circuit, saes: dict[str, SAE], tiny_lm: LanguageModel):
    norm, unembedding = tiny_lm.bridge.ln_final.weight, tiny_lm.bridge.W_U
    features = [node for node in circuit.nodes if node.kind == "feature"]
    for node in features:
        row = saes[node.site].W_dec[node.feature].detach()
        logits = ((row - row.mean()) * norm) @ unembedding
        best = sorted(range(len(logits)), key=lambda token: -float(logits[token]))[:6]
        assert node.promoted == tuple(tiny_lm.tokenizer.decode([token]) for token in best)
    assert features
    assert all(node.promoted == () for node in circuit.nodes if node.kind != "feature")


def test_curves_go_from_no_node_to_all(circuit: Circuit):
    families = {curve.family: curve for curve in circuit.curves}
    assert set(families) == {"features", "neurons", "heads", "random"}
    for curve in families.values():
        assert [p.n_nodes for p in curve.points] == sorted(p.n_nodes for p in curve.points)
        assert all(np.isfinite([p.faithfulness, p.completeness]).all() for p in curve.points)
    later = [s for s in POINTS if not s.startswith("blocks.0")]  # judged a third into the model
    mine = next(p for p in families["features"].points if p.threshold == CONFIG.node_threshold)
    assert mine.n_nodes == sum(node.site in later for node in circuit.nodes)
    assert [p.n_nodes for p in families["random"].points] == [p.n_nodes for p in families["features"].points]
    everything = families["neurons"].points[-1]
    assert everything.faithfulness == pytest.approx(1, abs=0.05)


def test_edges_into_the_logits_are_the_effects_of_the_last_site(circuit: Circuit):
    last = [node for node in circuit.nodes if node.site == POINTS[-1]]
    for node in last:
        out = sum(edge.weight for edge in circuit.edges if edge.source == node.id)
        assert out == pytest.approx(node.effect, rel=0.2, abs=0.02)  # ig along the way against gradients at the end


@pytest.mark.parametrize("method", ["attrib", "exact"])
def test_methods_agree_on_the_strongest_nodes(
    tiny_lm: LanguageModel, saes: dict[str, SAE], task: Task, circuit: Circuit, tmp_path: Path, method: str
):
    config = CONFIG.model_copy(update={"method": method, "curve_points": 0, "sampled_nodes": 0})
    other = discover(tiny_lm, saes, task, config, tmp_path / "work", "other")
    effects = {node.id: node.effect for node in other.nodes}
    strong = sorted(circuit.nodes, key=lambda node: -abs(node.effect))[:30]
    pairs = np.array([(node.effect, effects[node.id]) for node in strong if node.id in effects])
    assert len(pairs) >= 20
    assert np.corrcoef(pairs.T)[0, 1] > 0.9


def test_positions_kept_apart_add_up(tiny_lm: LanguageModel, saes: dict[str, SAE], task: Task, tmp_path: Path):
    settings = {
        "node_threshold": 0.0,
        "edge_threshold": 0.0,
        "max_nodes": 10_000,
        "curve_points": 0,
        "method": "attrib",
    }
    found = [
        discover(tiny_lm, saes, task, CONFIG.model_copy(update={**settings, "aggregation": how}), tmp_path / how, how)
        for how in ("sum", "none")
    ]
    summed = {node.id: node.effect for node in found[0].nodes if node.kind != "logit"}
    apart: dict[str, float] = dict.fromkeys(summed, 0.0)
    for node in found[1].nodes:
        if node.kind != "logit":
            assert node.position is not None
            apart[node.id.partition("@")[0]] += node.effect
    assert apart == pytest.approx(summed, abs=1e-5)


@pytest.mark.parametrize("aggregation", ["sum", "none"])
def test_edges_put_to_the_test(
    tiny_lm: LanguageModel, saes: dict[str, SAE], task: Task, tmp_path: Path, aggregation: str
):
    settings = {"curve_points": 0, "sampled_nodes": 0, "method": "attrib", "aggregation": aggregation}
    found = discover(tiny_lm, saes, task, CONFIG.model_copy(update=settings), tmp_path / "w", "x")
    sample = [*found.edges[:12], *[edge for edge in found.edges if edge.target.startswith("logits")][:3]]
    tests = [cut_edge(tiny_lm, saes, task, found, edge.source, edge.target, n=8) for edge in sample]
    for edge, test in zip(sample, tests, strict=True):
        assert test.predicted == pytest.approx(edge.weight, abs=1e-5)
        assert test.n == 8
        assert np.isfinite(test.measured)


def test_cut_edges_against_runs_by_hand(tiny_lm: LanguageModel, saes: dict[str, SAE], task: Task, circuit: Circuit):
    """From one residual stream to the next, with attention and MLP held, a change passes by as it is."""
    first, second = POINTS[5], POINTS[8]
    source = next(n for n in circuit.nodes if n.site == first and n.kind == "feature")
    target = next(n for n in circuit.nodes if n.site == second and n.kind == "feature")
    found = cut_edge(tiny_lm, saes, task, circuit, source.id, target.id, n=8)
    encoded = check_task(task, tiny_lm.tokenizer, 32)
    clean, patch = (torch.tensor(each[:8]) for each in (encoded.clean, encoded.patch))
    answer, wrong = torch.tensor(encoded.answers[:8]), torch.tensor(encoded.wrongs[:8])

    def metric(change: dict | None = None) -> float:
        logits = tiny_lm.last_logits(clean, change)
        return float((logits.gather(1, answer[:, None]) - logits.gather(1, wrong[:, None])).sum())

    def code(sae: SAE, x: torch.Tensor, feature: int | None) -> torch.Tensor:
        return sae.encode(x).to_dense().view(*x.shape[:2], -1)[..., feature].detach()

    x, y = (tiny_lm.activations(tokens, [first, second]) for tokens in (clean, patch))
    gone = code(saes[first], x[first], source.feature) - code(saes[first], y[first], source.feature)
    moved = x[second] - gone[..., None] * saes[first].W_dec[source.feature].detach()
    less = code(saes[second], x[second], target.feature) - code(saes[second], moved, target.feature)
    after = x[second] - less[..., None] * saes[second].W_dec[target.feature].detach()
    assert found.measured == pytest.approx((metric() - metric({second: lambda _: after})) / 8, abs=1e-4)
    last = next(n for n in circuit.nodes if n.site == second and n.kind == "error")
    both = [
        cut_edge(tiny_lm, saes, task, circuit, last.id, f"logits/{name}", n=8).measured for name in ("answer", "wrong")
    ]
    errors = [state[second] - saes[second](state[second]).detach() for state in (x, y)]
    after = x[second] - errors[0] + errors[1]
    assert sum(both) == pytest.approx((metric() - metric({second: lambda _: after})) / 8, abs=1e-4)


def test_edges_that_cannot_be_tested(tiny_lm: LanguageModel, saes: dict[str, SAE], task: Task, circuit: Circuit):
    edge = circuit.edges[0]
    with pytest.raises(UserError, match="has no node 'nowhere/1'"):
        cut_edge(tiny_lm, saes, task, circuit, "nowhere/1", edge.target)
    with pytest.raises(UserError, match="is not downstream of"):
        cut_edge(tiny_lm, saes, task, circuit, edge.target, edge.source)
    other = task.model_copy(update={"description": "another"})
    with pytest.raises(UserError, match="has changed since circuit 'letters' was found"):
        cut_edge(tiny_lm, saes, other, circuit, edge.source, edge.target)


def _killed(folder: str, saes: dict[str, SAE], task: Task, work: Path) -> None:
    from saebench.lm import load_lm

    torch.set_num_threads(1)
    discover(load_lm(folder), saes, task, CONFIG, work, "letters")


def test_killed_in_the_middle_it_goes_on(
    tiny_folder: Path, tiny_lm: LanguageModel, saes: dict[str, SAE], task: Task, circuit: Circuit, tmp_path: Path
):
    work = tmp_path / "letters"
    process = multiprocessing.get_context("spawn").Process(target=_killed, args=(str(tiny_folder), saes, task, work))
    process.start()
    give_up = time.monotonic() + 120
    while not (work / "features.1.safetensors").exists() and time.monotonic() < give_up:
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    done = {path.name: path.stat().st_mtime_ns for path in work.glob("features.*.safetensors")}
    assert done
    kept: list[tuple[Circuit, bool]] = []
    again = discover(
        tiny_lm, saes, task, CONFIG, work, "letters", keep=lambda circuit: kept.append((circuit, work.exists()))
    )
    assert kept == [(again, True)]  # what was done goes only when the circuit is kept
    assert [node.id for node in again.nodes] == [node.id for node in circuit.nodes]
    assert np.allclose([n.effect for n in again.nodes], [n.effect for n in circuit.nodes], atol=1e-6)
    assert not work.exists()


def test_what_was_done_under_other_settings_is_not_used(
    tiny_lm: LanguageModel, saes: dict[str, SAE], task: Task, tmp_path: Path
):
    work = tmp_path / "work"
    with pytest.raises(UserError, match="no node has an effect of 1e"):
        discover(tiny_lm, saes, task, CONFIG.model_copy(update={"node_threshold": 1e9}), work, "x")
    assert (work / "features.0.safetensors").exists()
    before = (work / "features.0.safetensors").stat().st_mtime_ns
    config = CONFIG.model_copy(update={"node_threshold": 1e8})
    with pytest.raises(UserError, match="no node has an effect"):
        discover(tiny_lm, saes, task, config, work, "x")
    assert (work / "features.0.safetensors").stat().st_mtime_ns > before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": "pairs"}, "has no patched prompts; choose the reference zero or mean"),
        ({"reference": "zero", "aggregation": "none"}, "positions can be kept apart in templated tasks only"),
    ],
)
def test_settings_that_do_not_fit_the_task(
    tiny_lm: LanguageModel, saes: dict[str, SAE], tmp_path: Path, change: dict, message: str
):
    task = Task(name="alone", pairs=(Pair(clean="a = b", answer=";"), Pair(clean="a = b + c", answer=";")))
    with pytest.raises(UserError, match=message):
        discover(tiny_lm, saes, task, CONFIG.model_copy(update=change), tmp_path / "w", "x")


@pytest.mark.parametrize("reference", ["zero", "mean"])
def test_unpaired_tasks(tiny_lm: LanguageModel, saes: dict[str, SAE], tmp_path: Path, reference: str):
    pairs = tuple(Pair(clean=text, answer=";") for text in ("a = b", "a = b + c", "x", "y = x * 2"))
    config = CONFIG.model_copy(update={"reference": reference, "curve_points": 2})
    found = discover(tiny_lm, saes, Task(name="alone", pairs=pairs), config, tmp_path / "w", "x")
    assert found.metric_patch is None
    assert [node.text for node in found.nodes if node.kind == "logit"] == [";"]


def test_a_metric_of_ones_own(tiny_lm: LanguageModel, saes: dict[str, SAE], task: Task, tmp_path: Path):
    def entropy(logits: torch.Tensor, _batch: object) -> torch.Tensor:
        return -(logits.softmax(1) * logits.log_softmax(1)).sum(1)

    config = CONFIG.model_copy(update={"node_threshold": 1e-4, "curve_points": 0, "sampled_nodes": 0})
    found = discover(tiny_lm, saes, task, config, tmp_path / "w", "x", metric=single(entropy))
    assert [node.id for node in found.nodes if node.kind == "logit"] == ["logits/metric"]
    assert 0 < found.metric < np.log(tiny_lm.d_vocab)


def test_saes_of_another_width_and_unknown_sites(tiny_lm: LanguageModel, task: Task, tmp_path: Path):
    with pytest.raises(UserError, match=r"no hook point 'blocks.7.hook_mlp_out'"):
        discover(tiny_lm, {"blocks.7.hook_mlp_out": SAE.create(32, 8, TopK(k=2))}, task, CONFIG, tmp_path / "a", "x")
    with pytest.raises(UserError, match="reads activations of width 16; the model's have 32 there"):
        discover(tiny_lm, {POINTS[0]: SAE.create(16, 8, TopK(k=2))}, task, CONFIG, tmp_path / "b", "x")
    with pytest.raises(UserError, match="circuits cannot use the site"):
        discover(tiny_lm, {"blocks.0.ln1.hook_scale": SAE.create(32, 8, TopK(k=2))}, task, CONFIG, tmp_path / "c", "x")
