"""The table of features in a real Chromium: scrolling, sorting, searching, suggestions, downloads, plots."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import synthetic
from playwright.sync_api import Page, expect
from screens import SIZES, drawn

from store import FeatureStore
from web.views.table import WINDOW

pytestmark = pytest.mark.browser
Open = Callable[..., Page]
ROW = 28


def order_of(store: FeatureStore, order: str = "max_activation desc", where: str = "true") -> list[int]:
    rows = store.features(synthetic.SAE).filter(where).order(f"{order}, feature").select("feature").rows()
    return [row["feature"] for row in rows]


def scroll(page: Page, row: int) -> None:
    """Bring a row to the top of the table's box."""
    page.locator(".scroll").evaluate("(box, top) => { box.scrollTop = top; }", row * ROW)


def test_any_place_of_the_list_shows_its_rows(opened: Open, address: str, sae: str, store: FeatureStore):
    page = opened(address + sae)
    truth = order_of(store)
    for row in (150, 30, 260, 0, 299, 97):
        scroll(page, row)
        shown = page.locator(f"tr[aria-rowindex='{row + 2}'] a.row")
        expect(shown).to_have_text(str(truth[row]))
        box = page.locator(".scroll").bounding_box()
        at = shown.bounding_box()
        assert box
        assert at
        assert box["y"] <= at["y"] < box["y"] + box["height"], row
        assert page.locator(".scroll tbody tr[aria-rowindex]").count() <= 3 * WINDOW
    heights = "rows => rows.map(row => row.getBoundingClientRect().height)"
    assert set(page.locator("tr[aria-rowindex]").evaluate_all(heights)) == {ROW}


def test_scrolling_through_meets_every_row_once(opened: Open, address: str, sae: str, store: FeatureStore):
    page = opened(address + sae)
    seen: dict[int, int] = {}
    for row in range(0, 300, 20):
        scroll(page, row)
        expect(page.locator(f"tr[aria-rowindex='{row + 2}']")).to_be_visible()
        read = "links => links.map(a => [a.closest('tr').getAttribute('aria-rowindex'), a.textContent].map(Number))"
        for index, feature in page.locator("a.row").evaluate_all(read):
            assert seen.setdefault(index, feature) == feature
    truth = order_of(store)
    assert all(truth[index - 2] == feature for index, feature in seen.items())
    assert len(seen) == len(truth)


def test_the_place_is_in_the_address_and_comes_back(opened: Open, address: str, sae: str, store: FeatureStore):
    page = opened(address + sae)
    truth = order_of(store)
    scroll(page, 200)
    page.wait_for_url("**from=200*")
    expect(page.locator("[data-place]")).to_contain_text("201–")
    page.locator("tr[aria-rowindex='205'] a.row").click()
    expect(page.locator("h1")).to_have_text(f"Feature {truth[203]}")
    page.go_back()
    expect(page.locator("tr[aria-rowindex='202'] a.row")).to_have_text(str(truth[200]))
    assert page.locator(".scroll").evaluate("box => box.scrollTop") == 200 * ROW
    page.get_by_role("link", name="density", exact=True).first.click()
    expect(page.locator("tr[aria-rowindex='2'] a.row")).to_have_text(str(order_of(store, "density desc")[0]))
    assert "from=" not in page.url


def test_without_scripts_pages_are_links(chromium, address: str, sae: str, store: FeatureStore):  # type: ignore[no-untyped-def]
    page = chromium.new_page(java_script_enabled=False)
    page.goto(address + sae)
    truth = order_of(store)
    shown = []
    while True:
        shown += [int(text) for text in page.locator("a.row").all_inner_texts()]
        further = page.get_by_role("link", name="Next")
        if not further.count():
            break
        with page.expect_navigation():  # or the page before it is read once more on a busy machine
            further.click()
    assert shown == truth
    page.close()


def test_searching_by_token_and_by_words(opened: Open, address: str, sae: str, store: FeatureStore):
    page = opened(address + sae)
    truth = [row["feature"] for row in store.search(synthetic.SAE, token=" self").rows()]
    page.fill("#search", 'fires:" self"')
    page.keyboard.press("Enter")
    expect(page.locator("a.row").first).to_have_text(str(truth[0]))
    expect(page.locator(".pages")).to_contain_text(f"of {len(truth)} matching")
    expect(page.locator("th", has_text="on it")).to_be_visible()
    page.locator("tr[aria-rowindex='3'] a.row").click()
    expect(page.locator("h1")).to_have_text(f"Feature {truth[1]}")
    page.wait_for_load_state()
    page.keyboard.press("ArrowRight")
    expect(page.locator("h1")).to_have_text(f"Feature {truth[2]}")
    page.go_back()
    page.go_back()
    page.fill("#search", "self")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="paste a text")).to_have_attribute("href", f"/prompt?sae={synthetic.SAE}")
    page.get_by_role("link", name='fires:" self"').click()
    expect(page.locator("a.row").first).to_have_text(str(truth[0]))
    expect(page.locator("#search")).to_have_value('fires:" self"')


def test_suggestions_explain_and_complete(opened: Open, address: str, sae: str):
    page = opened(address + sae)
    field = page.locator("#filter")
    field.press_sequentially("density > 1e-4 and do")
    expect(page.locator("#suggest b")).to_have_text(["docs"])
    expect(field).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Tab")
    expect(field).to_have_value("density > 1e-4 and docs")
    expect(page.locator("#suggest")).to_be_hidden()
    field.fill("")
    field.press_sequentially("d")
    page.keyboard.press("ArrowDown")
    second = page.locator("#suggest li").nth(1)
    expect(second).to_have_attribute("aria-selected", "true")
    expect(field).to_have_attribute("aria-activedescendant", second.get_attribute("id") or "")
    field.fill("")
    field.press_sequentially("token = 'ma")
    expect(page.locator("#suggest")).to_be_hidden()


def test_a_mistake_is_shown_and_forgotten(opened: Open, address: str, sae: str, store: FeatureStore):
    page = opened(address + sae)
    page.fill("#filter", "max > 5 and docz < 0.5")
    page.keyboard.press("Enter")
    expect(page.locator(".wrong mark")).to_have_text("docz")
    page.fill("#filter", "max > 5 and docs < 0.5")
    page.keyboard.press("Enter")
    expect(page.locator(".wrong")).to_have_count(0)
    truth = order_of(store, where="max_activation > 5 and documents_share < 0.5")
    expect(page.locator("a.row").first).to_have_text(str(truth[0]))


@pytest.mark.parametrize("ending", ["CSV", "Parquet"])
def test_downloading_the_list(opened: Open, address: str, sae: str, store: FeatureStore, tmp_path: Path, ending: str):
    page = opened(f"{address}{sae}?filter=max+%3E+5&order=mean+desc")
    with page.expect_download() as waited:
        page.locator(".files").get_by_role("link", name=ending, exact=True).click()
    path = tmp_path / waited.value.suggested_filename
    waited.value.save_as(path)
    assert path.name == f"{synthetic.SAE}.{synthetic.CORPUS}.max-gt-5.{ending.lower()}"
    found = pd.read_csv(path) if ending == "CSV" else pq.read_table(path).to_pandas()
    assert found["feature"].tolist() == order_of(store, "mean desc", "max_activation > 5")


def test_a_cell_of_the_heat_map_filters_by_both(opened: Open, address: str, sae: str, store: FeatureStore):
    page = opened(address + sae)
    drawn(page, "strength")
    cell = page.evaluate(CELL)
    page.mouse.move(*cell["at"])
    page.wait_for_function("() => document.querySelector('#strength .hoverlayer .hovertext')")
    page.mouse.click(*cell["at"])
    page.wait_for_url("**filter=density+between*max+between*")
    low, high, least, most = cell["edges"]
    where = f"density between {low} and {high} and max_activation between {least} and {most}"
    expect(page.locator(".pages")).to_contain_text(f"of {len(order_of(store, where=where))} matching")


def test_columns_come_and_go(opened: Open, address: str, sae: str):
    page = opened(address + sae)
    page.get_by_text("Columns", exact=True).click()
    page.get_by_role("button", name="nearest").click()
    expect(page.locator("th", has_text="nearest")).to_be_visible()
    assert "columns=" in page.url
    pair = page.locator("a.pair").first
    number = pair.inner_text()
    pair.click()
    expect(page.locator("h1")).to_have_text(f"Feature {number}")


def test_rows_by_keyboard(opened: Open, address: str, sae: str, store: FeatureStore):
    page = opened(address + sae)
    truth = order_of(store)
    page.locator("a.row").first.focus()
    for key in ("ArrowDown", "j", "j", "k"):
        page.keyboard.press(key)
    expect(page.locator("tr[aria-rowindex='4'] a.row")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(f"Feature {truth[2]}")


@pytest.mark.parametrize("size", list(SIZES))
def test_the_table_fits_the_screen(opened: Open, address: str, sae: str, size: str):
    page = opened(f"{address}{sae}?columns=density,max,mean,docs,token,norm,cosine", size=size)
    page.wait_for_function("() => [...document.querySelectorAll('.plot')].every(plot => plot.dataset.drawn)")
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    assert page.locator(".scroll").evaluate("box => box.scrollWidth - box.clientWidth") <= 0
    text = page.locator("td.says").first.bounding_box()
    assert text
    assert text["width"] > 100


CELL = """() => {
  const plot = document.querySelector("#strength"), trace = plot.data[0];
  const full = trace.customdata.flatMap((row, j) => row.map((cell, i) => [cell, i, j])).filter(([cell]) => cell);
  const [cell, i, j] = full.sort((a, b) => b[0][4] - a[0][4])[0];
  const { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
  const at = [box.left + xaxis._offset + xaxis.d2p(trace.x[i]), box.top + yaxis._offset + yaxis.d2p(trace.y[j])];
  return { edges: cell.slice(0, 4), at };
}"""
