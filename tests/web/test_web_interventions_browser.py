"""Interventions in a real Chromium: a run from the form to its page with nothing stood in (the demo model, a real job
in its own process), and a stored run looked at, chosen from, compared, saved and applied.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import intervention_files
import pytest
import small_unlearning
import synthetic
from playwright.sync_api import Page, expect
from screens import drawn

from saebench.interventions import read_interventions
from saebench.interventions.unlearning import read_result
from store import Annotations

pytestmark = pytest.mark.browser
Open = Callable[..., Page]
PATIENCE = 360_000
"""Milliseconds that a job may take where other tests run beside it."""


@pytest.fixture(scope="module")
def own(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that may be written to."""
    ignored = shutil.ignore_patterns("metrics.jsonl", "catalog.duckdb.lock")
    place = tmp_path_factory.mktemp("interventions") / "own"
    return Path(shutil.copytree(workspace, place, symlinks=True, ignore=ignored))


@pytest.fixture(scope="module")
def home(served: Callable[[Path], str], own: Path) -> str:
    return served(own)


def fits(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_from_the_form_to_a_real_result(opened: Open, served: Callable[[Path], str], tmp_path: Path):
    workspace = small_unlearning.write(tmp_path)
    page = opened(f"{served(workspace)}/interventions")
    form = page.locator("#unlearn")
    form.locator("[name=forget]").fill(small_unlearning.FORGET)
    form.locator("[name=retain]").fill(small_unlearning.RETAIN)
    form.locator("[name=corpus]").select_option(str(tmp_path / "corpus"))
    form.get_by_role("button", name="Show the documents").first.click()
    expect(form.locator(".matches").first).to_contain_text("json: ", timeout=PATIENCE)
    for kind in ("clamp_prime", "guarded", "zero", "project"):
        form.locator(f"[data-kind={kind}] [name=use]").uncheck()
    form.get_by_label("Strengths of clamp where active", exact=True).fill("1, 4")
    for baseline in ("difference of means", "RMU"):
        form.get_by_label(baseline, exact=True).uncheck()
    form.locator("[name=n]").fill("4")
    form.locator("[name=retain_below]").fill("1")
    form.locator("[name=per_topic]").fill("6")
    form.get_by_text("Settings", exact=True).click()
    for name in ("chosen_on", "judged_on"):
        form.locator(f"[name={name}]").fill("2")
    form.locator("[name=samples]").fill("1")
    form.locator("[name=id]").fill("tiny")
    form.get_by_role("button", name="Unlearn").click()
    expect(page.locator("h1")).to_have_text("Unlearning tiny")
    expect(page.locator("#job .state")).to_have_text("done", timeout=PATIENCE)
    page.get_by_role("link", name="The result").click()
    drawn(page, "dose-forget")
    result = read_result(workspace, "tiny")
    assert [curve.name for curve in result.curves] == ["clamp", "random"]
    assert len(result.candidates) <= 4
    expect(page.locator("h1")).to_have_text("Unlearning json")
    boxes = page.locator("[name=candidate]")
    assert [int(box.get_attribute("value") or -1) for box in boxes.all()] == [one.feature for one in result.candidates]
    expect(page.locator(".sample")).to_have_count(len(result.samples))
    assert read_interventions(workspace, "tiny").interventions == result.picked.interventions


def test_a_refusal_is_said_beside_the_form(opened: Open, home: str):
    page = opened(f"{home}/interventions")
    form = page.locator("#unlearn")
    form.locator("[name=forget]").fill("nothing=nowhere/*")
    form.get_by_role("button", name="Unlearn").click()
    expect(form.locator(".said")).to_contain_text("Topic 'nothing' (nowhere/*) matches no document", timeout=PATIENCE)
    for box in form.locator("[name=use]").all():
        box.uncheck()
    form.get_by_role("button", name="Unlearn").click()
    expect(form.locator(".said")).to_have_text("No treatment is chosen. Tick one at least.")


def test_treatments_are_put_in_order_and_sent_so(opened: Open, home: str):
    page = opened(f"{home}/interventions")
    form = page.locator("#unlearn")
    form.get_by_role("button", name="Move zero up").click()
    form.get_by_role("button", name="Move zero up").click()
    form.locator("[data-kind=clamp] [name=use]").uncheck()
    form.locator("[name=forget]").fill("")
    form.locator("[name=forget]").evaluate("one => one.required = false")
    with page.expect_request("**/interventions") as asked:
        form.get_by_role("button", name="Unlearn").click()
    body = json.loads(asked.value.post_data or "")
    assert [one["kind"] for one in body["treatments"]] == ["zero", "clamp_prime", "guarded", "project"]
    assert body["baselines"] == ["random", "direction", "rmu"]
    expect(form.locator(".said")).to_contain_text("Topics to forget: no topic is given")


def test_a_run_again_with_chosen_features(opened: Open, home: str, own: Path):
    page = opened(f"{home}/interventions/tkinter.frequency")
    drawn(page, "dose-forget")
    again = page.get_by_role("button", name=re.compile("Run again with"))
    expect(again).to_be_disabled()
    expect(page.locator("#none-chosen")).to_be_visible()
    page.get_by_label("Choose all").check()
    expect(again).to_be_enabled()
    expect(page.locator("#none-chosen")).to_be_hidden()
    expect(again).to_have_text("Run again with 3 features")
    page.get_by_label(f"Choose feature {intervention_files.FEATURES[1]}").uncheck()
    expect(again).to_have_text("Run again with 2 features")
    page.get_by_label("List that they are put on").fill("by hand")
    again.click()
    expect(page.locator("h1")).to_have_text("Unlearning tkinter.list")
    listed = [one.feature for one in Annotations(own).listed("by hand")]
    assert listed == [intervention_files.FEATURES[0], intervention_files.FEATURES[2]]
    assert page.request.post(f"{page.url}/cancel", headers={"origin": home}).ok  # one that has ended stays as it is


def test_what_is_steered_is_saved_applied_renamed_and_deleted(opened: Open, home: str, own: Path):
    page = opened(f"{home}/steer?sae={synthetic.SAE}&features=9:3&text=for+item&tokens=4")
    expect(page.locator(".sides")).to_be_visible(timeout=PATIENCE)
    page.get_by_label("Name of the interventions").fill("nine")
    save = page.get_by_role("button", name=re.compile("Save .* as interventions"))
    expect(save).to_have_text("Save 1 feature as interventions")
    page.get_by_label("Remove feature 9").click()
    expect(save).to_be_disabled()
    expect(page.locator("#none-added")).to_be_visible()
    page.get_by_label("Add a feature").fill("9")
    page.locator("#found [role=option]").first.wait_for()
    page.keyboard.press("Enter")
    page.locator("#wishes [type=number]").fill("3")
    save.click()
    expect(page.locator("h1")).to_have_text("nine")
    assert [one.features for one in read_interventions(own, "nine").interventions] == [(9,)]
    page.get_by_role("link", name="On the prompt page").click()
    page.locator("[name=text]").fill("for item in items")
    page.get_by_role("button", name="Show features").click()
    expect(page.locator(".reading a.t").first).to_be_visible(timeout=PATIENCE)
    assert "interventions=nine" in page.url
    page.goto(f"{home}/interventions/sets/nine")
    page.get_by_label("Notes").fill("what it is for")
    page.get_by_role("button", name="Save").click()
    page.wait_for_load_state("networkidle")
    page.get_by_label("Name").fill("renamed")
    page.get_by_role("button", name="Rename").click()
    expect(page.locator("h1")).to_have_text("renamed")
    assert read_interventions(own, "renamed").notes == "what it is for"
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("h1")).to_have_text("Interventions")
    assert not (own / "interventions" / "renamed.json").exists()


def test_a_file_is_imported(opened: Open, home: str, own: Path, tmp_path: Path):
    kept = read_interventions(own, "several")
    file = tmp_path / "some.json"
    file.write_text(kept.model_copy(update={"id": "brought"}).model_dump_json())
    page = opened(f"{home}/interventions")
    page.get_by_text("Import").first.click()
    page.locator("#set-file").set_input_files(file)
    page.get_by_role("button", name="Import").click()
    expect(page.locator("h1")).to_have_text("brought")
    assert read_interventions(own, "brought").interventions == kept.interventions


@pytest.mark.parametrize("size", ["desk", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_fits_its_screen(opened: Open, address: str, theme: str, size: str):
    page = opened(f"{address}/interventions", theme, size)
    expect(page.locator("#unlearn")).to_be_visible(timeout=PATIENCE)
    assert fits(page)
    for place in (
        "tkinter.frequency", "compare?a=tkinter.frequency&b=hostile", "sets/several", "compose?edit=several",
        "compare/sets?a=several&b=tkinter.frequency&text=for+item&tokens=8",
    ):  # fmt: skip
        page.goto(f"{address}/interventions/{place}")
        if place.startswith(("tkinter", "compare?")):
            drawn(page, "dose-forget")
        elif "text=" in place:
            expect(page.locator(".of-three")).to_be_visible(timeout=PATIENCE)
        assert fits(page), place
    for place in ("prompt", "steer"):
        page.goto(f"{address}/{place}?sae={synthetic.SAE}&text=for+item&tokens=8&interventions=tkinter.frequency")
        expect(page.locator(".result section").first).to_be_visible(timeout=PATIENCE)
        assert fits(page), place


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_treatment_has_one_colour_in_every_figure_and_table(opened: Open, address: str, theme: str):
    page = opened(f"{address}/interventions/tkinter.frequency", theme)
    drawn(page, "dose-trade")
    seen = set()
    for name in ("clamp", "zero", "random", "rmu"):
        colours = page.evaluate(
            """name => [...document.querySelectorAll(".plot.dose")].flatMap((plot) =>
                plot.data.filter((trace) => trace.meta === `series-${name}`).map((trace) => trace.marker.color))""",
            name,
        )
        assert len(colours) >= 4
        [colour] = set(colours)
        marks = page.locator(f".mark.series-{name}")
        assert marks.count() == 2  # legend and table
        shown = {mark.evaluate("one => getComputedStyle(one).color") for mark in marks.all()}
        assert shown == {"rgb({}, {}, {})".format(*(int(colour[i : i + 2], 16) for i in (1, 3, 5)))}
        seen.add(colour)
    assert len(seen) == 4
    before = page.locator("#dose-forget .scatterlayer .trace").count()
    page.locator("[data-series=clamp]").click()
    expect(page.locator("[data-series=clamp]")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#dose-forget .scatterlayer .trace")).to_have_count(before - 2)  # the curve and its ring
    page.locator("[data-series=clamp]").click()
    expect(page.locator("#dose-forget .scatterlayer .trace")).to_have_count(before)


def test_a_question_that_turned_opens_to_all_of_it(opened: Open, address: str):
    page = opened(f"{address}/interventions/tkinter.frequency")
    row = page.locator("td.question").first
    expect(row.locator(".writing")).to_be_hidden()
    row.locator("summary").click()
    expect(row.locator(".writing")).to_contain_text("from tkinter import")
    assert row.locator(".writing").inner_text().count("# long ago") == 20


def test_on_a_phone_a_question_that_turned_shows_what_is_said_now(opened: Open, address: str):
    page = opened(f"{address}/interventions/tkinter.frequency", size="phone")
    listing = page.get_by_role("region", name="Questions that turned")
    assert listing.evaluate("one => one.scrollWidth <= one.clientWidth")
    cells = listing.locator("tbody tr").first.locator("td:visible")
    assert [cells.nth(i).inner_text() for i in (1, 2)] == ["␣messagebox", "␣tkinter.os"]
    expect(cells.first).to_contain_text("tkinter, to forget; margin 2.00 → −1.50")
