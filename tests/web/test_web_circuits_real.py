"""A circuit from the form to a tested edge in a real Chromium, with nothing stood in: trained SAEs of the demo model,
real jobs in processes of their own, the real intervention.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from graph_page import place, places, shown, strongest_alone
from playwright.sync_api import Page, expect
from typer.testing import CliRunner

from saebench.circuits.files import circuit_ids, circuit_path, read_circuit
from saebench.circuits.sets import find_set
from saebench.circuits.sets_open import open_set
from saebench.circuits.tasks.files import find_task
from saebench.circuits.testing import cut_edge
from saebench.cli import app
from web.formats import signed

pytestmark = pytest.mark.browser
Open = Callable[..., Page]
SETTINGS = {
    "corpus.max_tokens": 4096,
    "harvest.hook_points": json.dumps(["blocks.1.hook_mlp_out", "blocks.2.hook_resid_post"]),
    "train.tokens": 4000,
    "train.batch": 128,
    "train.sae.n_latents": 128,
    "train.sae.rule.k": 8,
    "evaluate.corpus": "{name: stdlib-heldout, max_tokens: 512}",
    "index.corpus": "{name: stdlib-heldout, max_tokens: 1024}",
}
PATIENCE = 180_000
"""Milliseconds that a job may take where other tests run beside it."""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a trained and indexed set of two sites."""
    workspace = tmp_path_factory.mktemp("real") / "workspace"
    overrides = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    arguments = ["circuit", "set", "--index", "--id", "two", "--workspace", str(workspace), *overrides]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    return workspace


@pytest.fixture(scope="module")
def home(served: Callable[[Path], str], own: Path) -> str:
    return served(own)


def type_pair(page: Page, name: str, clean: str, patch: str) -> None:
    page.get_by_label("a pair of prompts").check()
    page.get_by_label("name of the task").fill(name)
    page.get_by_label("clean prompt").fill(clean)
    page.get_by_label("patched prompt").fill(patch)
    page.get_by_label("what the model should say").fill("]")
    page.get_by_label("what it should say after that").fill(")")


def test_from_a_typed_pair_to_a_tested_edge(opened: Open, home: str, own: Path):
    page = opened(f"{home}/circuits")
    type_pair(page, "lists", "x = [1, 2", "x = (1, 2")
    page.get_by_text("Settings").click()
    page.get_by_label("effects of nodes").select_option("attrib")
    page.get_by_label("least effect of a node").fill("0.05")
    page.get_by_label("least weight of an edge").fill("0.005")
    page.get_by_role("button", name="Find it").click()
    expect(page.locator("h1")).to_have_text("Circuit of lists")
    expect(page.locator("#job progress[value]")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#job .progress")).to_contain_text(" of ")
    expect(page.locator("#job .state")).to_have_text("done", timeout=PATIENCE)
    page.get_by_role("link", name="The circuit").click()
    shown(page)
    circuit = read_circuit(own, "lists.attrib")
    expect(page.locator("#counts")).to_contain_text(f"{len(circuit.nodes)} of {len(circuit.nodes)} nodes")

    features = {n.id: n for n in circuit.nodes if n.kind == "feature"}
    strongest = max(features.values(), key=lambda n: abs(n.effect))
    page.locator("#graph").click(position=place(places(page)["nodes"][strongest.id]))
    panel = page.locator("#panel")
    expect(panel.locator("h2")).to_have_text(str(strongest.feature))
    expect(panel.locator(".measures dd").first).to_have_text(signed(strongest.effect))
    expect(page.frame_locator("iframe").locator("h1")).to_have_text(f"Feature {strongest.feature}")

    page.goto(f"{home}/circuits/{circuit.id}?edge_threshold=0.02")
    shown(page)
    edge = strongest_alone(places(page))
    page.locator("#graph").click(position=place(edge))
    expect(panel.locator("h2")).to_have_text("Edge")
    with page.expect_response("**/edges/test", timeout=PATIENCE) as answer:
        panel.get_by_role("button", name="Run it").click()
    found = answer.value.json()
    assert [found["source"], found["target"]] == edge["ids"]
    opened_set = open_set(own, find_set(own, "two"))
    by_hand = cut_edge(opened_set.lm, opened_set.saes, find_task(own, "lists"), circuit, *edge["ids"])
    assert found["predicted"] == pytest.approx(by_hand.predicted, abs=1e-4)
    assert found["measured"] == pytest.approx(by_hand.measured, abs=1e-4)
    assert found["predicted"] == pytest.approx(edge["weight"], abs=1e-3)
    expect(panel.locator(".said")).to_have_text("On 1 example.")
    for which in ("predicted", "measured"):
        words = panel.locator(f"[data-of={which}]").inner_text().replace("−", "-")
        assert float(words) == pytest.approx(found[which], rel=5e-3)
    page.reload()
    expect(panel.locator("h2")).to_have_text("Edge")


def test_a_running_job_is_cancelled(opened: Open, home: str, own: Path):
    page = opened(f"{home}/circuits")
    page.locator("[name=task]").select_option("copy-identifier")
    page.get_by_label("id of the circuit").fill("never")
    page.get_by_text("Settings").click()
    page.get_by_label("examples").fill("100000")
    page.get_by_role("button", name="Find it").click()
    expect(page.locator("#job .state")).to_have_text("running", timeout=PATIENCE)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#job .state")).to_have_text("cancelled", timeout=PATIENCE)
    expect(page.get_by_role("link", name="The circuit")).to_have_count(0)
    expect(page.get_by_role("button", name="Run again")).to_be_visible()
    assert not circuit_path(own, "never").exists()


def test_a_pair_of_unequal_length_fails_with_one_line(opened: Open, home: str, own: Path):
    before = circuit_ids(own)
    page = opened(f"{home}/circuits")
    type_pair(page, "uneven", "x = [1, 2", "x = (1, 2, 3")
    page.get_by_role("button", name="Find it").click()
    expect(page.locator("#job .state")).to_have_text("failed", timeout=PATIENCE)
    problem = page.locator("#job .problem")
    expect(problem).to_contain_text("example 1: clean and patch must be equally long")
    assert len(problem.inner_text().splitlines()) == 1
    expect(page.locator("#job .log")).not_to_contain_text("Traceback")
    assert circuit_ids(own) == before
