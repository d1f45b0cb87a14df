"""A real Chromium on a real server: what a person does, and what must never happen meanwhile."""

from pathlib import Path

import pytest
import synthetic
from hostile import SAE as HOSTILE
from playwright.sync_api import Browser, expect
from screens import SIZES, drawn
from tiny import TRAINING

from store import Annotations, FeatureStore

pytestmark = pytest.mark.browser


def test_from_home_to_a_feature_and_along_the_list(opened, address: str, store: FeatureStore):
    page = opened(address)
    page.get_by_role("link", name=synthetic.SAE, exact=True).click()
    drawn(page, "density")
    drawn(page, "curve-1")
    page.get_by_role("link", name="mean").first.click()
    expect(page.locator("th[aria-sort]")).to_have_text("mean ↓")
    assert "order=mean" in page.url
    page.fill("#filter", "n_active > 50")
    page.keyboard.press("Enter")
    truth = [r["feature"] for r in store.features(synthetic.SAE).filter("n_active > 50").order("mean desc").rows()]
    expect(page.locator("a.row").first).to_have_text(str(truth[0]))
    expect(page.locator(".pages")).to_contain_text(f"of {len(truth)} matching")
    page.locator("tr[aria-rowindex='3']").click()
    expect(page.locator("h1")).to_have_text(f"Feature {truth[1]}")
    drawn(page, "activations")
    drawn(page, "logits")
    page.keyboard.press("ArrowRight")
    expect(page.locator("h1")).to_have_text(f"Feature {truth[2]}")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("h1")).to_have_text(f"Feature {truth[1]}")
    page.keyboard.press("/")
    expect(page.locator("#filter")).to_have_value("n_active > 50")
    page.go_back()
    expect(page.locator("h1")).to_have_text(f"Feature {truth[1]}")


def test_the_back_button_brings_the_table_back(opened, address: str, sae: str):
    page = opened(address + sae)
    before = page.locator("a.row").first.inner_text()
    page.get_by_role("link", name="dead").click()
    expect(page.locator("#filter")).to_have_value("dead")
    expect(page.locator("a.row").first).to_have_text(str(synthetic.DEAD[0]))
    page.fill("#filter", "density > 2")
    page.keyboard.press("Enter")
    expect(page.locator("#features")).to_contain_text("No feature matches")
    page.go_back()
    expect(page.locator("a.row").first).to_have_text(str(synthetic.DEAD[0]))
    page.go_back()
    expect(page.locator("a.row").first).to_have_text(before)
    drawn(page, "density")


def test_a_wrong_filter_is_shown_at_the_word(opened, address: str, sae: str):
    page = opened(address + sae)
    page.fill("#filter", "densty < 1e-3")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(".wrong mark")).to_have_text("densty")
    expect(page.locator(".wrong")).to_contain_text("did you mean 'density'")


def test_column_names_complete(opened, address: str, sae: str):
    page = opened(address + sae)
    page.locator("#filter").press_sequentially("max_")
    expect(page.locator("#suggest b")).to_have_text(["max_activation"])
    expect(page.locator("#suggest span")).to_have_text(["largest activation"])
    page.keyboard.press("Tab")
    expect(page.locator("#filter")).to_have_value("max_activation")


def test_a_bar_of_the_density_histogram_filters(opened, address: str, sae: str):
    page = opened(address + sae)
    drawn(page, "density")
    page.locator("#density .point path").nth(3).click(force=True)
    page.wait_for_url("**filter=density*")
    assert page.locator("#filter").input_value().startswith("density between ")


def test_typing_into_the_test_box(opened, address: str, sae: str):
    page = opened(f"{address}{sae}/features/1")
    page.keyboard.press("t")
    page.keyboard.type("def f(self):")
    expect(page.locator("#live-said")).to_contain_text("tokens", timeout=60_000)
    expect(page.locator("#live-output .context")).to_have_text("def f(self):")
    page.fill("#live-text", "x" * 8001)
    expect(page.locator("#live-said")).to_contain_text("this takes 8,000")


def test_examples_open_mark_the_histogram_and_go_to_the_box(opened, address: str, sae: str, store: FeatureStore):
    page = opened(f"{address}{sae}/features/{synthetic.WHITESPACE}")
    drawn(page, "activations")
    example = page.locator(".examples > li").first
    whole = store.feature(synthetic.SAE, synthetic.WHITESPACE).top(1)[0].whole()
    text = b"".join(p for p, s in zip(whole.pieces, whole.special, strict=True) if not s).decode()
    example.locator(".value").click()
    expect(example.locator(".value")).to_have_attribute("aria-expanded", "true")
    page.wait_for_function("n => document.querySelector('.examples .context').textContent.length === n", arg=len(text))
    assert example.locator(".context").evaluate("e => e.textContent") == text
    example.locator(".t.peak").hover()
    value = example.locator(".t.peak").get_attribute("data-v")
    expect(page.locator(".tip")).to_have_text(value)
    expect(page.locator("#activations .pin")).to_be_visible()
    example.get_by_text("try this text").click()
    assert page.locator("#live-text").input_value() == text
    expect(page.locator("#live-output .context")).to_be_visible(timeout=60_000)
    second = page.locator(".examples > li").nth(1)
    second.locator(".before").click()
    assert page.locator("#live-text").input_value() == second.locator(".context").evaluate("e => e.textContent")


def test_examples_stream_in_and_show_as_much_as_wanted(opened, address: str, sae: str, store: FeatureStore):
    page = opened(f"{address}{sae}/features/5")
    truth = store.feature(synthetic.SAE, 5)
    expect(page.locator("#random .examples > li").first).to_be_visible()
    expect(page.locator("#quantiles .band")).to_have_count(5)
    expect(page.locator("#coactive li")).to_have_count(len(truth.coactive("jaccard", 12)))
    page.get_by_role("button", name="pmi").click()
    expect(page.locator("#coactive li a").first).to_have_text(str(truth.coactive("pmi")[0].feature))
    first = page.locator("#examples .examples > li").first
    height = first.bounding_box()["height"]
    page.get_by_role("button", name="snippet").click()
    assert "context=snippet" in page.url
    assert first.bounding_box()["height"] > height
    page.get_by_role("button", name="±5").click()
    expect(first.locator(".far").first).to_be_hidden()
    page.get_by_role("button", name="full").click()
    whole = truth.top(1)[0].whole()
    length = len(b"".join(p for p, s in zip(whole.pieces, whole.special, strict=True) if not s).decode())
    page.wait_for_function("n => document.querySelector('.examples .context').textContent.length === n", arg=length)
    page.keyboard.press("ArrowRight")
    expect(page.locator("h1")).to_have_text("Feature 6")
    assert "context=full" in page.url
    expect(page.locator(".examples > li.open").first).to_be_visible()


def test_the_tokens_of_a_line_touch(opened, address: str, sae: str):
    page = opened(f"{address}{sae}/features/{synthetic.DENSE}")
    gaps = page.evaluate(GAPS)
    assert len(gaps) > 20
    assert max(map(abs, gaps)) < 1


def test_naming_listing_and_noting(opened, address: str, sae: str, workspace: Path, store: FeatureStore):
    page = opened(f"{address}{sae}/features/8")
    page.get_by_text("Name it").click()
    page.get_by_label("Label", exact=True).fill("<b>loops</b>")
    page.keyboard.press("Enter")
    expect(page.locator(".called")).to_have_text("<b>loops</b>")
    page.get_by_text("Write a note").click()
    page.get_by_label("Note").fill("first line\nsecond")
    page.get_by_role("button", name="Save").last.click()
    expect(page.locator(".notes p").first).to_have_text("first line second")
    page.get_by_text("Add to a list").click()
    page.get_by_label("Name of the list").fill("keepers")
    page.get_by_role("button", name="Add").click()
    expect(page.locator(".on-lists a")).to_have_text("keepers")
    said = store.remarks(synthetic.SAE, 8)
    assert (said.label.text, [note.text for note in said.notes], said.lists) == (
        "<b>loops</b>",
        ["first line\nsecond"],
        ["keepers"],
    )
    page.goto(f"{address}{sae}/features/{truth_neighbour(store)}")
    expect(page.locator(".neighbours .said-of").first).to_have_text("<b>loops</b>")
    page.goto(f"{address}{sae}/features/8")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Remove").first.click()
    expect(page.locator(".notes")).to_have_count(0)
    page.get_by_role("button", name="Take off the list").click()
    expect(page.locator(".on-lists")).to_have_count(0)
    page.get_by_text("Rename").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.locator(".called")).to_have_count(0)
    said = store.remarks(synthetic.SAE, 8)
    assert (said.label, said.notes, said.lists) == (None, [], [])
    Annotations(workspace).remove_list("keepers")


def truth_neighbour(store: FeatureStore) -> int:
    """A feature of whose nearest ones feature 8 is the first."""
    return next(
        f
        for f in range(synthetic.N_FEATURES)
        if f != 8 and store.feature(synthetic.SAE, f).neighbours()[0].feature == 8
    )


def test_a_card_stands_in_the_frame_of_another_page(opened, address: str, sae: str, store: FeatureStore):
    page = opened(f"{address}{sae}/features/5?embed=1")
    drawn(page, "activations")
    expect(page.locator(".examples > li")).to_have_count(5)
    expect(page.get_by_role("link", name="Feature 5")).to_have_attribute("href", f"{address}{sae}/features/5")
    assert page.request.get(f"{address}{sae}/features/5").headers["content-security-policy"].endswith("'none'")
    page.set_content(f'<iframe src="{address}{sae}/features/5?embed=1"></iframe>')
    expect(page.frame_locator("iframe").locator("h1")).to_have_text("Feature 5")


def test_dialogs_open_by_key(opened, address: str, sae: str):
    page = opened(f"{address}{sae}/features/1")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.type("42")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Feature 42")


def test_the_theme_follows_the_system_until_chosen(opened, address: str, sae: str):
    ground = "getComputedStyle(document.body).backgroundColor"
    page = opened(address + sae, theme="dark")
    assert page.evaluate(ground) == "rgb(20, 21, 23)"
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.evaluate(ground) == "rgb(251, 251, 250)"
    page.goto(address)
    assert page.evaluate(ground) == "rgb(251, 251, 250)"


@pytest.mark.parametrize("size", list(SIZES))
def test_no_page_is_wider_than_the_screen(opened, address: str, sae: str, size: str):
    paths = ["/", sae, f"{sae}/features/1", f"{sae}/features/{synthetic.DEAD[0]}", f"/saes/{TRAINING}"]
    page = opened(address, size=size)
    for path in [*paths, f"/saes/{HOSTILE}/features/0"]:
        page.goto(address + path)
        page.wait_for_function("() => [...document.querySelectorAll('.plot')].every(plot => plot.dataset.drawn)")
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0], path


def test_under_a_finger_figures_have_no_tools_and_let_the_page_scroll(chromium: Browser, address: str, sae: str):
    width, height = SIZES["phone"]
    page = chromium.new_page(viewport={"width": width, "height": height}, is_mobile=True, has_touch=True)
    page.goto(f"{address}{sae}")
    drawn(page, "density")
    expect(page.locator(".modebar-btn")).to_have_count(0)
    assert page.evaluate("document.querySelector('#density')._fullLayout.dragmode") is False
    page.locator("#density .point path").nth(3).tap(force=True)
    page.wait_for_url("**filter=density*")
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_token_text_is_legible_on_every_highlight(opened, address: str, sae: str, theme: str):
    page = opened(f"{address}{sae}/features/1", theme)
    ratios = page.evaluate(CONTRAST)
    assert len(ratios) == 16
    assert min(ratios) >= 4.5, ratios


def test_hostile_text_does_nothing(opened, address: str):
    page = opened(f"{address}/saes/{HOSTILE}/features/0")
    drawn(page, "activations")
    page.locator(".examples .value").first.click()
    expect(page.locator(".examples .context").first).to_contain_text("</script><script>")
    assert page.title() != "broken"
    assert page.locator("img").count() == 0


def test_an_empty_workspace_in_the_browser(opened, served, tmp_path: Path):
    page = opened(served(tmp_path))
    expect(page.locator(".empty code")).to_have_text(f"saebench demo --workspace {tmp_path}")


GAPS = """() => [...document.querySelectorAll('.examples > li :is(.before, .after) .t + .t')]
  .filter(token => token.previousSibling === token.previousElementSibling)
  .map(token => token.getBoundingClientRect().left - token.previousSibling.getBoundingClientRect().right)"""

CONTRAST = """() => {
  const square = Object.assign(document.createElement('canvas'), {width: 1, height: 1});
  const canvas = square.getContext('2d', {willReadFrequently: true});
  const over = (...colours) => {
    colours.forEach(c => { canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1); });
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = rgb => rgb.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  return Array.from({length: 16}, (_, i) => {
    const token = Object.assign(document.createElement('span'), {className: `t a${i}`, textContent: 'x'});
    document.querySelector('.context').append(token);
    const ground = getComputedStyle(document.body).backgroundColor, style = getComputedStyle(token);
    const [a, b] = [light(over(ground, style.backgroundColor)), light(over(style.color))];
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  });
}"""
