"""Around a circuit's page in a real Chromium: starting one, comparing two, hostile names, both sizes and themes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from graph_page import shown
from playwright.sync_api import Page, expect
from screens import SIZES

from saebench.circuits.files import circuit_ids, read_circuit, write_circuit
from saebench.circuits.tasks.files import find_task
from web.jobs.runner import JobRunner

pytestmark = pytest.mark.browser
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def own(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copied = tmp_path_factory.mktemp("circuits") / "workspace"
    return Path(shutil.copytree(workspace, copied, ignore=shutil.ignore_patterns("catalog.duckdb.lock")))


@pytest.fixture(scope="module")
def home(served, own: Path) -> str:
    return served(own)


def test_a_pair_of_prompts_starts_a_job(opened: Open, home: str, own: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(JobRunner, "_run", lambda self, job: self._end(job, "done"))
    page = opened(f"{home}/circuits")
    expect(page.get_by_label("clean prompt")).to_be_hidden()
    page.get_by_label("a pair of prompts").check()
    expect(page.locator("[name=task]")).to_be_hidden()
    page.get_by_label("name of the task").fill("typed")
    page.get_by_role("button", name="Find it").click()
    expect(page.locator(".finding .said")).to_contain_text("clean: is empty")
    page.get_by_label("clean prompt").fill("y = {1, 2")
    page.get_by_label("what the model should say").fill("}")
    page.get_by_text("Settings").click()
    page.get_by_label("effects of nodes").select_option("attrib")
    page.get_by_role("button", name="Find it").click()
    expect(page.locator("h1")).to_have_text("Circuit of typed")
    expect(page.locator("#job .state")).to_have_text("done")
    expect(page.get_by_role("link", name="The circuit")).to_have_attribute("href", "/circuits/typed.attrib")
    assert find_task(own, "typed").pairs[0].clean == "y = {1, 2"


def test_a_circuit_is_renamed_and_deleted(opened: Open, home: str, own: Path):
    circuit = read_circuit(own, "brackets")
    write_circuit(own, circuit.model_copy(update={"id": "passing"}))
    (own / "circuits" / "torn.json").write_text("{")
    page = opened(f"{home}/circuits/passing")
    page.get_by_text("Rename", exact=True).click()
    page.get_by_label("Title").fill("What <b>closes</b> it")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("h1")).to_have_text("What <b>closes</b> it")
    assert read_circuit(own, "passing") == circuit.model_copy(
        update={"id": "passing", "title": "What <b>closes</b> it"}
    )
    asked: list[str] = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.get_by_role("button", name="Delete this circuit").click()
    assert asked == ["Delete the circuit passing for good, with its supernodes? Its task and its SAEs stay."]
    assert "passing" in circuit_ids(own)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete this circuit").click()
    page.wait_for_url("**/circuits")
    expect(page.locator(".circuits tbody")).not_to_contain_text("passing")
    assert "passing" not in circuit_ids(own)
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("tr", has_text="torn").get_by_role("button", name="Delete").click()
    expect(page.locator(".circuits tbody")).not_to_contain_text("torn")
    assert circuit_ids(own) == ["brackets", "by-position", "hostile"]


def test_from_the_list_to_a_comparison_and_back_to_a_node(opened: Open, home: str):
    page = opened(home)
    page.get_by_role("link", name="Circuits").click()
    page.get_by_role("link", name="Compare two").click()
    page.get_by_label("Second circuit").select_option("hostile")
    page.get_by_role("button", name="Compare").click()
    page.locator(".counts tbody a").nth(1).click()
    expect(page.locator("h2").first).to_have_text("Nodes only in the first")
    name = page.locator(".compared a.row").first.inner_text()
    page.locator(".compared a.row").first.click()
    shown(page)
    expect(page.locator("#panel h2")).to_have_text(name)


@pytest.mark.parametrize(("theme", "size"), [("light", "desk"), ("dark", "phone")])
def test_hostile_names_do_nothing_and_no_page_is_too_wide(opened: Open, home: str, theme: str, size: str):
    page = opened(home, theme, size)
    node = next(
        n["id"] for n in page.request.get(f"{home}/circuits/hostile.json").json()["nodes"] if n["kind"] == "logit"
    )
    paths = ["/circuits", "/circuits/hostile", f"/circuits/hostile?node={node}", "/circuits/by-position"]
    for path in [*paths, "/circuits/compare?a=brackets&b=hostile&show=b"]:
        page.goto(home + path)
        page.wait_for_load_state("networkidle")
        if path.split("?")[0] not in {"/circuits", "/circuits/compare"}:
            shown(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0], path
        assert page.title() != "broken"
    page.goto(f"{home}/circuits/hostile?node={node}")
    expect(page.locator("#panel h2")).to_contain_text("<script>")
    page.locator("#graph").hover(position={"x": 5, "y": 5})
    assert page.title() != "broken"
