"""A circuit's page in a real Chromium: what a person does with the graph, the panel, the table, the groups."""

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import synthetic
from graph_page import place, places, shown, strongest_alone
from playwright.sync_api import Browser, Page, expect
from screens import drawn

from saebench.circuits import Circuit
from saebench.circuits.files import read_circuit
from store import FeatureStore

pytestmark = pytest.mark.browser
Open = Callable[..., Page]

PIXEL = """([x, y]) => {
  const copy = Object.assign(document.createElement('canvas'), { width: 1, height: 1 });
  const pen = copy.getContext('2d', { willReadFrequently: true });
  const [canvas, ratio] = [document.querySelector('#graph'), devicePixelRatio];
  pen.drawImage(canvas, Math.round(x * ratio), Math.round(y * ratio), 1, 1, 0, 0, 1, 1);
  return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
}"""


@pytest.fixture(scope="module")
def own(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copied = tmp_path_factory.mktemp("circuits") / "workspace"
    return Path(shutil.copytree(workspace, copied, ignore=shutil.ignore_patterns("catalog.duckdb.lock")))


@pytest.fixture(scope="module")
def home(served, own: Path) -> str:
    return served(own)


@pytest.fixture
def brackets(own: Path) -> Circuit:
    return read_circuit(own, "brackets")


def test_thresholds_filters_and_search_sift_nodes_and_edges(opened: Open, home: str, brackets: Circuit):
    page = opened(f"{home}/circuits/brackets")
    shown(page)
    counts = page.locator("#counts")
    expect(counts).to_contain_text(f"{len(brackets.nodes)} of {len(brackets.nodes)} nodes")
    page.get_by_label("Least effect of a node, as a number").fill("0.3")
    strong = {n.id for n in brackets.nodes if abs(n.effect) >= 0.3 or n.kind == "logit"}
    expect(counts).to_contain_text(f"{len(strong)} of {len(brackets.nodes)} nodes")
    expect(page.locator("#nodes tbody tr")).to_have_count(len(strong))
    page.get_by_label("Least weight of an edge, as a number").fill("0.05")
    grouped = set(brackets.supernodes[0].nodes)
    joined = [e for e in brackets.edges if abs(e.weight) >= 0.05 and {e.source, e.target} <= strong]
    passed = [e for e in joined if not {e.source, e.target} <= grouped]
    expect(counts).to_contain_text(f"of {len(passed)} edges")
    page.wait_for_url("**/brackets?node_threshold=0.3&edge_threshold=0.05")
    expect(page.locator("#export")).to_have_attribute(
        "href", f"{home}/circuits/brackets/attribution.json?node_threshold=0.3&edge_threshold=0.05"
    )
    page.reload()
    expect(counts).to_contain_text(f"{len(strong)} of {len(brackets.nodes)} nodes")
    page.get_by_label("Least effect of a node, as a number").fill("")
    page.get_by_label("layer").select_option("1")
    expected = [n for n in brackets.nodes if n.layer == 1 or n.kind in {"token", "logit"}]
    expect(counts).to_contain_text(f"{len(expected)} of")
    page.get_by_label("site").select_option("mlp_out")
    expected = [n for n in brackets.nodes if n.site == "blocks.1.hook_mlp_out"]
    expect(page.locator("#nodes tbody tr")).to_have_count(len(expected))
    page.fill("#filter", "error")
    errors = [n for n in expected if n.kind == "error"]
    expect(page.locator("#nodes tbody tr")).to_have_count(len(errors))
    page.wait_for_url("**&layer=1&site=mlp_out&q=error")


def test_the_slider_moves_the_threshold_and_the_mark_on_the_curve(opened: Open, home: str):
    page = opened(f"{home}/circuits/brackets")
    shown(page)
    drawn(page, "faithfulness")
    drawn(page, "completeness")
    pin = page.locator("#faithfulness .pin")
    expect(pin).to_have_text("1.00")
    slider = page.get_by_label("Least effect of a node", exact=True)
    slider.evaluate("s => { s.value = 700; s.dispatchEvent(new Event('input', {bubbles: true})); }")
    expect(pin).not_to_have_text("1.00")
    assert float(page.get_by_label("Least effect of a node, as a number").input_value()) > 0.1
    assert 0 < float(pin.inner_text()) < 1
    page.wait_for_url("**?node_threshold=*")


def test_influence_is_pruned_by_the_server(opened: Open, home: str):
    page = opened(f"{home}/circuits/brackets")
    shown(page)
    page.get_by_label("influence").select_option("0.5")
    data = page.request.get(f"{home}/circuits/brackets/graph.json?influence=0.5").json()
    n = len(data["nodes"]["id"])
    expect(page.locator("#counts")).to_contain_text(f"{n} of {n} nodes")
    page.wait_for_url("**?influence=0.5")
    page.reload()
    expect(page.locator("#counts")).to_contain_text(f"{n} of {n} nodes")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colour_says_the_sign(opened: Open, home: str, brackets: Circuit, theme: str):
    page = opened(f"{home}/circuits/brackets", theme)
    shown(page)
    nodes = places(page)["nodes"]
    strongest = sorted((n for n in brackets.nodes if n.id in nodes), key=lambda n: -abs(n.effect))[:8]
    for node in strongest:
        red, green, _ = page.evaluate(PIXEL, [nodes[node.id]["x"], nodes[node.id]["y"]])
        assert (green > red) == (node.effect > 0), node


def test_a_click_on_a_node_shows_its_feature_inputs_and_outputs(opened: Open, home: str, brackets: Circuit):
    page = opened(f"{home}/circuits/brackets")
    shown(page)
    degree = {n.id: sum(n.id in (e.source, e.target) for e in brackets.edges) for n in brackets.nodes}
    nodes = places(page)["nodes"]
    inner = [n for n in brackets.nodes if n.kind == "feature" and n.id in nodes and n.feature not in synthetic.DEAD]
    node = max(inner, key=lambda n: degree[n.id])
    page.locator("#graph").hover(position=place(nodes[node.id]))
    expect(page.locator("#status")).to_contain_text(str(node.feature))
    page.locator("#graph").click(position=place(nodes[node.id]))
    panel = page.locator("#panel")
    expect(panel.locator("h2")).to_have_text(str(node.feature))
    outputs = [e for e in brackets.edges if e.source == node.id]
    inputs = [e for e in brackets.edges if e.target == node.id]
    tables = panel.locator("table.sortable")
    expect(panel.locator("table.sortable tbody tr")).to_have_count(len(inputs) + len(outputs))
    card = page.frame_locator("iframe")
    expect(card.locator("h1")).to_have_text(f"Feature {node.feature}")
    last = tables.last
    before = last.locator("tbody a").all_inner_texts()
    last.get_by_role("button", name="weight").click()
    assert last.locator("tbody a").all_inner_texts() != before or len(outputs) < 2
    expect(last.locator("th[aria-sort=ascending]")).to_contain_text("weight")
    other = min(outputs, key=lambda e: abs(e.weight)).target
    last.locator("tbody tr").first.locator("a[data-node]").click()
    page.wait_for_function("id => new URLSearchParams(location.search).get('node') === id", arg=other)
    page.go_back()
    expect(panel.locator("h2")).to_have_text(str(node.feature))
    page.reload()
    expect(panel.locator("h2")).to_have_text(str(node.feature))


def test_a_click_in_the_table_brings_the_card_into_view_and_goes_there(opened: Open, home: str):
    page = opened(f"{home}/circuits/brackets")
    shown(page)
    heading = page.locator("#panel h2")
    link = page.locator("#nodes tbody a").nth(40)
    name = link.inner_text()
    numbers = page.locator("#nodes tbody tr").nth(40).locator("td.number").all_inner_texts()
    link.click()  # far below the panel
    expect(heading).to_have_text(name)
    expect(page.locator("#panel .measures dd")).to_have_text(numbers)  # as the server writes them
    expect(heading).to_be_in_viewport()
    expect(heading).to_be_focused()
    weight = page.locator("#panel a[data-source]").last
    weight.click()  # at the end of the panel, which scrolls by itself
    expect(heading).to_have_text("Edge")
    expect(heading).to_be_in_viewport()
    expect(heading).to_be_focused()
    page.locator("#graph").focus()
    page.keyboard.press("ArrowUp")
    expect(heading).not_to_have_text("Edge")
    expect(page.locator("#chosen")).to_contain_text(heading.inner_text())
    expect(page.locator("#graph")).to_be_focused()


def test_a_tap_on_the_graph_of_a_phone_brings_node_and_edge_into_view(opened: Open, home: str, brackets: Circuit):
    page = opened(f"{home}/circuits/brackets", size="phone")
    shown(page)
    found = places(page)
    inner = (n for n in brackets.nodes if n.id in found["nodes"] and n.kind == "feature")
    node = max(inner, key=lambda n: found["nodes"][n.id]["y"])
    heading = page.locator("#panel h2")
    for what, text in ((found["nodes"][node.id], str(node.feature)), (strongest_alone(found), "Edge")):
        page.evaluate("scrollTo(0, 0)")
        page.locator("#graph").click(position=place(what))
        expect(heading).to_have_text(text)
        top = "document.querySelector('#panel h2').getBoundingClientRect().top"
        page.wait_for_function(f"() => {top} < 0.6 * innerHeight")
        expect(heading).to_be_in_viewport()


@pytest.mark.parametrize(("motion", "behavior"), [("reduce", "auto"), ("no-preference", "smooth")])
def test_the_page_glides_only_for_those_who_like_motion(chromium: Browser, home: str, motion: str, behavior: str):
    context = chromium.new_context(viewport={"width": 390, "height": 844}, reduced_motion=motion)
    context.add_init_script(
        "const real = Element.prototype.scrollIntoView; globalThis.asked = [];"
        "Element.prototype.scrollIntoView = function (how) { asked.push(how.behavior); real.call(this, how); };"
    )
    page = context.new_page()
    page.goto(f"{home}/circuits/brackets")
    shown(page)
    page.evaluate("document.querySelector('#nodes tbody a').click()")
    page.wait_for_function("() => asked.length > 0")
    assert page.evaluate("asked") == [behavior]
    context.close()


def test_an_edge_that_cannot_be_tested_says_why(opened: Open, home: str, brackets: Circuit):
    edge = brackets.edges[0]
    problems: list[str] = []
    page = opened(f"{home}/circuits/brackets")
    page.on("response", lambda answer: problems.append(answer.url) if answer.status >= 400 else None)
    page.evaluate(
        "([source, target]) => { const query = new URLSearchParams({source, target}); location.search = query; }",
        [edge.source, edge.target],
    )
    expect(page.locator("#panel h2")).to_have_text("Edge")
    page.evaluate("document.querySelector('.testing').setAttribute('data-target', 'none/1')")
    page.route(
        "**/edges/test", lambda route: route.fulfill(json={"cause": "It is busy.", "remedy": "Wait."}, status=422)
    )
    page.get_by_role("button", name="Run it").click()
    expect(page.locator("#panel .said.problem")).to_have_text("It is busy. Wait.")
    expect(page.get_by_role("button", name="Run it")).to_be_enabled()


def test_nodes_are_grouped_named_opened_and_ungrouped(opened: Open, home: str, own: Path):
    page = opened(f"{home}/circuits/by-position")
    shown(page)
    drawn_at = places(page)["nodes"]
    there = (n for n in read_circuit(own, "by-position").nodes if n.id in drawn_at and n.kind == "feature")
    one, other = sorted(there, key=lambda n: -abs(n.effect))[:2]
    page.locator("#graph").click(position=place(drawn_at[one.id]), modifiers=["Shift"])
    expect(page.locator("#picked")).to_have_text("1 node chosen")
    page.locator(f"#nodes input[value='{other.id}']").check()
    expect(page.locator("#picked")).to_have_text("2 nodes chosen")
    page.get_by_label("Name of the group").fill("openers & <b>more")
    page.get_by_role("button", name="Group them").click()
    panel = page.locator("#panel")
    expect(panel.locator("h2")).to_have_text("openers & <b>more")
    expect(panel.locator(".members li")).to_have_count(2)
    groups = {group.name: group.nodes for group in read_circuit(own, "by-position").supernodes}
    assert set(groups["openers & <b>more"]) == {one.id, other.id}
    assert one.id not in places(page)["nodes"]
    page.reload()
    expect(panel.locator(".members li")).to_have_count(2)
    panel.locator(".members a").first.click()
    panel.get_by_role("button", name="openers & <b>more").click()
    panel.get_by_role("button", name="Ungroup").click()
    expect(panel).to_contain_text("Click a node")
    assert "openers & <b>more" not in {group.name for group in read_circuit(own, "by-position").supernodes}


def test_keys_walk_the_graph_and_the_table_lists_it(opened: Open, home: str, brackets: Circuit):
    page = opened(f"{home}/circuits/brackets")
    shown(page)
    page.locator("#graph").focus()
    page.keyboard.press("ArrowUp")
    page.wait_for_url("**?node=*")
    strongest = max(brackets.nodes, key=lambda n: abs(n.effect))
    assert page.evaluate("new URLSearchParams(location.search).get('node')") == strongest.id
    page.keyboard.press("ArrowDown")
    page.wait_for_function("id => new URLSearchParams(location.search).get('node') !== id", arg=strongest.id)
    page.get_by_role("button", name="activation").click()
    first = max(brackets.nodes, key=lambda n: n.activation)
    expect(page.locator("#nodes tbody a").first).to_have_attribute("data-node", first.id)
    expect(page.locator("#listed")).to_have_text(f"1–50 of {len(brackets.nodes)}")
    page.get_by_role("button", name="Next").click()
    expect(page.locator("#nodes tbody tr")).to_have_count(len(brackets.nodes) - 50)
    page.locator("#nodes tbody a").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#panel h2")).to_be_visible()


def test_the_table_says_what_features_promote(opened: Open, home: str, brackets: Circuit, store: FeatureStore):
    page = opened(f"{home}/circuits/brackets")
    shown(page)
    node = max((n for n in brackets.nodes if n.kind == "feature"), key=lambda n: abs(n.effect))
    token = store.feature(synthetic.SAE, node.feature).logits().promoted[0].text
    row = page.locator("#nodes tbody tr", has=page.locator(f"a[data-node='{node.id}']"))
    expect(row.locator("td").last).to_contain_text("promotes")
    assert row.locator(".promotes .chip").first.text_content() == token.replace(" ", "␣").replace("\n", "↵")
    error = max((n for n in brackets.nodes if n.kind == "error"), key=lambda n: abs(n.effect))
    row = page.locator("#nodes tbody tr", has=page.locator(f"a[data-node='{error.id}']"))
    expect(row.locator("td").last).to_have_text("–")


def test_many_nodes_draw_at_most_600_edges(opened: Open, home: str):
    page = opened(f"{home}/circuits/by-position")
    shown(page)
    expect(page.locator("#counts")).to_contain_text("600 of")


def test_downloads_hold_the_circuit(opened: Open, home: str, brackets: Circuit):
    page = opened(f"{home}/circuits/brackets?node_threshold=0.3")
    shown(page)
    whole = f"{home}/circuits/brackets/attribution.json?node_threshold=0.3"
    expect(page.locator("#export")).to_have_attribute("href", whole)
    with page.expect_download() as kept:
        page.get_by_role("link", name="Attribution graph").click()
    file = json.loads(Path(kept.value.path()).read_text())
    assert len(file["nodes"]) == sum(abs(n.effect) >= 0.3 or n.kind == "logit" for n in brackets.nodes)
    with page.expect_download() as kept:
        page.get_by_role("link", name="Circuit JSON").click()
    assert Circuit.model_validate_json(Path(kept.value.path()).read_bytes()) == brackets


def test_the_graph_is_enlarged_and_moved(opened: Open, home: str, brackets: Circuit):
    page = opened(f"{home}/circuits/brackets")
    shown(page)
    found, graph, share = places(page), page.locator("#graph"), page.locator("#zoom output")
    box = found["box"]
    features = sorted((n for n in brackets.nodes if n.id in found["nodes"]), key=lambda n: -abs(n.effect))
    centre = found["nodes"][features[0].id]
    whole = page.get_by_role("button", name="Show the whole graph")
    expect(whole).to_be_disabled()
    graph.hover(position=place(centre))
    page.mouse.wheel(0, 120)  # scrolls the page
    expect(share).to_have_text("100%")
    page.evaluate("scrollTo(0, 0)")
    graph.hover(position=place(centre))
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    factor = math.exp(200 / 300)
    expect(share).to_have_text(f"{round(100 * factor)}%")
    page.wait_for_url("**?view=1.95_*")

    def stands(node: str) -> dict[str, float] | None:
        """Where a node is now: what was under the pointer has stayed there. None if it is out of view."""
        at = {axis: centre[axis] + (found["nodes"][node][axis] - centre[axis]) * factor for axis in ("x", "y")}
        inside = box["left"] + 8 < at["x"] < box["left"] + box["width"] - 8 and 8 < at["y"] < box["height"] - 8
        return at if inside else None

    seen = [(n, at) for n in features if n.kind == "feature" and (at := stands(n.id))]
    assert 3 < len(seen) < len(features)
    for node, at in seen[:6]:
        graph.hover(position=at)
        expect(page.locator("#status")).to_contain_text(str(node.feature))
    node, at = seen[0]
    corner = graph.bounding_box()
    start = [corner["x"] + box["left"] + 3, corner["y"] + 3]
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + 20, start[1] + 12, steps=4)
    page.mouse.up()  # a press that moves is no click: nothing is chosen
    assert "node=" not in page.url
    page.reload()
    expect(share).to_have_text(f"{round(100 * factor)}%")
    page.locator("#graph").focus()
    page.keyboard.press("0")
    expect(share).to_have_text("100%")
    page.wait_for_url(re.compile(r"/circuits/brackets$"))
    for key, words in (("+", "140%"), ("-", "100%"), ("-", "100%"), ("+", "140%")):
        page.keyboard.press(key)
        expect(share).to_have_text(words)
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_url("**?view=1.40_0.607_0.500")
    whole.click()
    expect(whole).to_be_disabled()
    graph.click(position=place(found["nodes"][node.id]))
    expect(page.locator("#panel h2")).to_have_text(str(node.feature))


def test_two_fingers_enlarge_and_one_scrolls(chromium: Browser, home: str):
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(f"{home}/circuits/brackets")
    shown(page)
    page.locator("#graph").scroll_into_view_if_needed()
    box = page.locator("#graph").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = context.new_cdp_session(page)

    def fingers(kind: str, *at: tuple[float, float]) -> None:
        points = [{"x": x, "y": y} for x, y in at]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", (x - 20, y), (x + 20, y))
    for apart in (30, 40, 50):
        fingers("touchMove", (x - apart, y), (x + apart, y))
    fingers("touchEnd")
    expect(page.locator("#zoom output")).to_have_text("250%")
    assert page.evaluate("visualViewport.scale") == 1
    before = page.evaluate("scrollY")
    fingers("touchStart", (x, y))
    for up in (20, 60, 120):
        fingers("touchMove", (x, y - up))
    fingers("touchEnd")
    page.wait_for_function("before => scrollY > before + 40", arg=before)
    expect(page.locator("#zoom output")).to_have_text("250%")
    context.close()
