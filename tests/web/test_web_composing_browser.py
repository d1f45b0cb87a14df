"""Interventions composed in a real Chromium: put in order, given strengths and conditions, saved, changed, compared,
examined by a run.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import intervention_files
import pytest
import synthetic
from playwright.sync_api import Page, expect

from saebench.interventions import Add, ClampActive, Fires, Often, Zero, read_interventions

pytestmark = pytest.mark.browser
Open = Callable[..., Page]
PATIENCE = 120_000


@pytest.fixture(scope="module")
def own(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that may be written to."""
    ignored = shutil.ignore_patterns("metrics.jsonl", "catalog.duckdb.lock")
    place = tmp_path_factory.mktemp("composing") / "own"
    return Path(shutil.copytree(workspace, place, symlinks=True, ignore=ignored))


@pytest.fixture(scope="module")
def home(served: Callable[[Path], str], own: Path) -> str:
    return served(own)


def test_from_candidates_to_several_interventions_in_order(opened: Open, home: str, own: Path):
    page = opened(f"{home}/interventions/tkinter.frequency")
    compose = page.locator("[data-compose]")
    expect(compose).to_be_disabled()
    for feature in intervention_files.FEATURES[1:]:
        page.get_by_label(f"Choose feature {feature}").check()
    expect(compose).to_have_text("Compose interventions on 2 features")
    compose.click()
    steps = page.locator("#steps > li")
    expect(steps).to_have_count(1)
    first = steps.nth(0)
    assert first.locator("[name=features]").input_value() == "5,9"
    first.locator("[name=amount]").fill("-4.5")
    first.locator("[name=maxima]").uncheck()
    first.locator("[name=above]").fill("0.25")
    expect(first.locator("[name=share]")).to_be_hidden()
    first.locator("summary").click()
    first.locator("[name=when]").select_option("often")
    first.locator("[name=share]").fill("0.1")
    page.get_by_role("button", name="Add an intervention").click()
    second = steps.nth(1)
    second.locator("[name=kind]").select_option("zero")
    expect(second.locator(".does")).to_have_text("0")
    expect(second.locator("[name=amount]")).to_be_hidden()
    second.locator("[name=features]").fill("3")
    page.get_by_role("button", name="Add an intervention").click()
    third = steps.nth(2)
    third.locator("[name=kind]").select_option("add")
    third.locator("[name=features]").fill("7")
    third.locator("[name=amount]").fill("2")
    third.locator("summary").click()
    third.locator("[name=when]").select_option("fires")
    third.locator("[name=when_features]").fill("1")
    third.locator("[data-move='-1']").click()
    third = steps.nth(1)
    third.locator("[data-move='-1']").click()  # it is the first now
    page.get_by_role("button", name="Add an intervention").click()
    steps.nth(3).locator("[data-remove]").click()
    expect(page.locator("#n-steps")).to_have_text("3 interventions")
    page.get_by_label("Name").fill("by.hand")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("h1")).to_have_text("by.hand")
    sae = synthetic.SAE
    assert read_interventions(own, "by.hand").interventions == (
        Add(sae=sae, feature=7, activation=2.0, when=Fires(feature=(1,))),
        ClampActive(sae=sae, feature=(5, 9), activation=-4.5, above=0.25, when=Often(share=0.1)),
        Zero(sae=sae, feature=3),
    )
    page.get_by_role("link", name="Change").click()
    expect(steps).to_have_count(3)
    expect(steps.nth(1).locator("details")).to_have_attribute("open", "")
    steps.nth(0).locator("[data-remove]").click()
    steps.nth(0).locator("[name=amount]").fill("-8")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("h1")).to_have_text("by.hand")
    changed = read_interventions(own, "by.hand").interventions
    assert [one.kind for one in changed] == ["clamp_active", "zero"]
    assert changed[0] == ClampActive(sae=sae, feature=(5, 9), activation=-8.0, above=0.25, when=Often(share=0.1))


def test_what_is_wrong_is_said_and_nothing_can_be_saved(opened: Open, home: str, own: Path):
    page = opened(f"{home}/interventions/compose?sae={synthetic.SAE}&features=3")
    page.locator("[name=features]").fill("3000")
    page.get_by_label("Name").fill("wrong")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#compose .said")).to_contain_text("has no feature 3000; it has 0 to 299")
    page.locator("[name=features]").fill("300")
    expect(page.locator("#compose .said")).to_be_empty()
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#compose .said")).to_contain_text("has no feature 300;")
    page.locator("[data-remove]").click()
    expect(page.locator("#compose .said")).to_be_empty()
    expect(page.locator("#keep")).to_be_disabled()
    expect(page.locator("#no-steps")).to_be_visible()
    assert not (own / "interventions" / "wrong.json").exists()


def test_another_intervention_has_the_unit_of_the_one_above(opened: Open, home: str):
    page = opened(f"{home}/interventions/compose?sae={synthetic.SAE}&features=3")
    units, another = page.locator("#steps [name=maxima]"), page.get_by_role("button", name="Add an intervention")
    another.click()
    expect(units.nth(1)).to_be_checked()
    units.nth(1).uncheck()
    another.click()
    expect(units.nth(2)).not_to_be_checked()
    expect(units.nth(0)).to_be_checked()


def test_on_a_phone_a_row_begins_with_its_kind(opened: Open, home: str):
    page = opened(f"{home}/interventions/compose?edit=several", size="phone")
    for row in page.locator("#steps > li").all():
        kind, order = (row.locator(one).bounding_box() for one in ("[name=kind]", ".order"))
        assert kind
        assert order
        assert kind["y"] + kind["height"] <= order["y"] or kind["x"] + kind["width"] <= order["x"]


def test_two_sets_are_chosen_and_a_text_is_continued_under_both(opened: Open, home: str):
    page = opened(f"{home}/interventions")
    page.get_by_role("link", name="Compare two", exact=True).click()
    page.get_by_label("First set").select_option("several")
    page.get_by_label("Second set").select_option("tkinter.frequency")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("h2", has_text="They do different things to 5 features")).to_be_visible()
    page.get_by_label("Text to continue").fill("for item in items")
    page.locator("[name=tokens]").fill("5")
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".of-three > div")).to_have_count(3, timeout=PATIENCE)
    assert "a=several" in page.url
    assert "text=for+item+in+items" in page.url
    written = page.locator(".of-three .writing").all_inner_texts()
    page.reload()
    expect(page.locator(".of-three > div")).to_have_count(3, timeout=PATIENCE)
    assert page.locator(".of-three .writing").all_inner_texts() == written


def test_a_run_examines_saved_sets(opened: Open, home: str):
    page = opened(f"{home}/interventions")
    form = page.locator("#unlearn")
    expect(form).to_be_visible(timeout=PATIENCE)
    for box in form.locator("[name=use]").all():
        box.uncheck()
    form.get_by_label("several").check()
    form.locator("[name=forget]").fill("nothing=nowhere/*")
    with page.expect_request("**/interventions") as asked:
        form.get_by_role("button", name="Unlearn").click()
    body = json.loads(asked.value.post_data or "")
    assert (body["treatments"], body["sets"]) == ([], ["several"])
    expect(form.locator(".said")).to_contain_text("matches no document", timeout=PATIENCE)
