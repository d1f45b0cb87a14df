"""Every page and feature of the dashboard, in a real Chromium on a workspace that `saebench demo` itself has made: what
the pages show is what the store says.
"""

import csv
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect
from screens import SIZES, drawn

from saebench.lm import load_lm
from store import Annotations, Example, Feature, FeatureStore, find_map
from store.weights import decoder_rows
from web.formats import fixed, large, number, percent
from web.live import Live, live_codes
from web.views.presets import PRESETS

pytestmark = pytest.mark.browser
Open = Callable[..., Page]
ROOT = Path(__file__).parents[2]
MADE = {
    "corpus.max_tokens": "40_000",
    "train.tokens": "150_000",
    "train.variants": "[{n_latents: 512}, {n_latents: 256}]",
    "evaluate.corpus": "{name: stdlib-heldout, max_tokens: 4_096}",
    "index.corpus": "{name: stdlib-heldout, max_tokens: 20_000}",
}
"""The demo in little: two SAEs from one stream, so that there is something to compare."""
SAE, OTHER = (f"demo.blocks.2.hook_resid_post.topk-{n}-k32" for n in (512, 256))
TEXT = 'def area(width, height):\n    """Return the area of a box."""\n    return width * height\n'


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "saebench", *map(str, arguments)]


def overrides(settings: dict[str, str]) -> list[str]:
    return [f"--set={key}={value}" for key, value in settings.items()]


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace."""
    folder = tmp_path_factory.mktemp("demo") / "workspace"
    made = command("demo", "--no-serve", "--workspace", folder, *overrides(MADE))
    subprocess.run(made, check=True, env=ENVIRONMENT, timeout=300)
    return folder


@pytest.fixture(scope="session")
def truth(demo: Path) -> Iterator[FeatureStore]:
    with FeatureStore.open(demo, threads=1) as store:
        yield store


@pytest.fixture(scope="session")
def home(served: Callable[[Path], str], demo: Path) -> str:
    """The address of the dashboard."""
    return served(demo)


@pytest.fixture(scope="session")
def sae(home: str) -> str:
    """The address of the larger SAE."""
    return f"{home}/saes/{SAE}"


@pytest.fixture(scope="session")
def feature(truth: FeatureStore) -> Feature:
    """A strong one that has everything a page can show, also an example that is all of a context."""
    rows = truth.features(SAE).filter("n_active > 100 and density < 0.05").order("max_activation desc, feature").rows()
    found = (truth.feature(SAE, row["feature"]) for row in rows)
    return next(one for one in found if one.negatives() and one.neighbours() and unbroken(one))


def unbroken(feature: Feature) -> list[tuple[int, Example]]:
    """Its strongest examples (with their rank) whose contexts are of one document: a text that one can type."""
    return [(i, one) for i, one in enumerate(feature.top(20)) if sum(one.whole().special) == 1]


def plain(example: Example) -> str:
    """Its text without special tokens."""
    pieces = (piece for piece, special in zip(example.pieces, example.special, strict=True) if not special)
    return b"".join(pieces).decode()


def order_of(truth: FeatureStore, order: str = "max_activation desc", where: str = "true", sae: str = SAE) -> list[int]:
    rows = truth.described(sae).filter(where).order(f"{order}, feature").select("feature").rows()
    return [row["feature"] for row in rows]


def listed(page: Page, numbers: list[int]) -> None:
    """The table shows just these, in this order."""
    expect(page.locator(".pages")).to_contain_text(f"of {large(len(numbers))} matching")
    shown = page.locator(".scroll a.row")
    expect(shown.first).to_have_text(str(numbers[0]))
    texts = shown.all_inner_texts()
    assert texts == [str(one) for one in numbers[: len(texts)]]


def test_home_shows_what_the_demo_made(opened: Open, home: str, truth: FeatureStore):
    page = opened(home)
    for entry in truth.saes():
        card = page.locator(".cards > li").filter(has=page.get_by_role("link", name=entry["id"], exact=True))
        for value in (f"{entry['heldout_fvu']:.4f}", f"{entry['ce_recovered']:.2%}", large(entry["tokens"])):
            expect(card.locator(".figures")).to_contain_text(value)
        index = truth.index(entry["id"]).meta
        shown = page.locator("section li", has_text=f"{entry['id']}.stdlib-heldout")
        expect(shown).to_contain_text(f"{large(index['n_tokens'])} tokens")
        expect(shown).to_contain_text(f"{index['n_dead'] / index['n_features']:.2%} dead")
    for title, name in [("Models", "demo"), ("Harvests", "demo.stdlib-train"), ("Corpora", "stdlib-heldout")]:
        section = page.locator("section").filter(has=page.get_by_role("heading", name=title, exact=True))
        expect(section.locator(".id").first).to_have_text(re.compile(f"^{re.escape(name)}"))
    expect(page.locator("section", has=page.get_by_role("heading", name="Models"))).to_contain_text("2 SAEs")
    read = f"{large(truth.index(SAE).meta['n_tokens'])} tokens indexed"
    expect(page.locator("section", has=page.get_by_role("heading", name="Corpora"))).to_contain_text(read)
    page.get_by_role("link", name=SAE, exact=True).click()
    expect(page.locator("h1")).to_have_text(SAE)


def test_home_follows_a_training(opened: Open, home: str, demo: Path):
    endless = {"train.tokens": "100_000_000", "train.sae.n_latents": "128", "train.sae.label": "endless"}
    arguments = command("train", "--workspace", demo, *overrides(endless))
    training = subprocess.Popen(arguments, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        page = opened(home)
        said = page.locator("#runs li", has_text="endless")
        expect(said).to_contain_text("of 100M tokens", timeout=60_000)
        for name in ("loss", "FVU", "L0", "dead", "tokens/s"):
            expect(said.locator(".figures")).to_contain_text(name)
        expect(said).to_contain_text("left")
        before = said.inner_text()
        page.wait_for_function("old => document.querySelector('#runs li').innerText !== old", arg=before)
        page.get_by_role("link", name=re.compile("endless")).click()
        expect(page.locator("h1")).to_contain_text("endless")
        drawn(page, "curve-1")
        expect(page.locator(".empty")).to_contain_text("No index yet")
    finally:
        training.terminate()
        training.communicate(timeout=30)
        for folder in (demo / "saes").glob("*-endless"):
            shutil.rmtree(folder)


def test_the_plots_and_figures_of_an_sae(opened: Open, sae: str, truth: FeatureStore):
    page = opened(sae)
    for plot in ("density", "strength", "norms", "cosines", "curve-1"):
        drawn(page, plot)
    (entry,) = (one for one in truth.saes() if one["id"] == SAE)
    for value in (f"{entry['heldout_fvu']:.4f}", f"{entry['ce_recovered']:.2%}", "stdlib-heldout"):
        expect(page.locator(".quality")).to_contain_text(value)
    page.get_by_text("Configuration", exact=True).click()
    expect(page.locator("details[open]")).to_contain_text("n_latents")
    counts = page.evaluate("document.querySelector('#density').data[0].y")
    assert sum(counts) == truth.features(SAE).filter("not dead").count()
    page.locator("#norms .point path").first.click(force=True)
    page.wait_for_url("**filter=norm*")
    low, high = re.findall(r"[\d.e+-]*\d", page.locator("#filter").input_value())
    listed(page, order_of(truth, where=f"decoder_norm between {low} and {high}"))


def test_the_table_filters_sorts_and_searches(opened: Open, sae: str, truth: FeatureStore):
    page = opened(sae)
    page.fill("#filter", "density between 1e-3 and 0.2 and max > 5")
    page.keyboard.press("Enter")
    where = "density between 1e-3 and 0.2 and max_activation > 5"
    listed(page, order_of(truth, where=where))
    for head, order in [("density", "density desc"), ("density", "density"), ("mean", "mean desc")]:
        page.locator("thead").get_by_role("link", name=re.compile(f"^{head}")).click()
        arrow = "↓" if order.endswith("desc") else "↑"
        expect(page.locator("th[aria-sort]")).to_have_text(f"{head} {arrow}")
        listed(page, order_of(truth, order, where))
    first = truth.feature(SAE, order_of(truth, "mean desc", where)[0]).stats
    row = page.locator("tr[aria-rowindex='2']")
    for value in (percent(first.density), number(first.max_activation), number(first.mean)):
        expect(row).to_contain_text(value)
    page.goto(sae)
    for typed, search in [
        ('fires:" return"', {"token": " return"}),
        ('promotes:" def"', {"promoted": " def"}),
    ]:
        page.fill("#search", typed)
        page.keyboard.press("Enter")
        listed(page, [row["feature"] for row in truth.search(SAE, **search).rows()])


def test_lists_of_dead_dense_and_duplicate_features(opened: Open, sae: str, truth: FeatureStore):
    page = opened(sae)
    for preset in PRESETS[1:]:
        numbers = order_of(truth, preset.order or "max_activation desc", preset.filter)
        link = page.get_by_role("navigation", name="Lists").get_by_role("link", name=re.compile(f"^{preset.name}\\b"))
        expect(link).to_have_count(int(bool(numbers)))
        if numbers:
            link.click()
            expect(link).to_contain_text(large(len(numbers)))
            listed(page, numbers)
    assert order_of(truth, where="dense"), "the demo has some, or this has not been looked at"


def test_the_list_as_a_file(opened: Open, sae: str, truth: FeatureStore, tmp_path: Path):
    page = opened(f"{sae}?filter=max+%3E+5&order=mean+desc")
    with page.expect_download() as waited:
        page.locator(".files").get_by_role("link", name="CSV", exact=True).click()
    waited.value.save_as(tmp_path / "features.csv")
    rows = list(csv.DictReader((tmp_path / "features.csv").open(encoding="utf-8")))
    assert [int(row["feature"]) for row in rows] == order_of(truth, "mean desc", "max_activation > 5")
    assert float(rows[0]["mean"]) == pytest.approx(truth.feature(SAE, int(rows[0]["feature"])).stats.mean)


def test_the_map_is_drawn_and_the_job_is_told(opened: Open, home: str, demo: Path):
    page = opened(f"{home}/saes/{OTHER}")
    page.get_by_role("button", name="Draw the map").click()
    expect(page.locator("canvas[data-drawn=yes]")).to_be_visible(timeout=300_000)
    found = find_map(demo, OTHER)
    assert found is not None
    expect(page.locator(".map .status")).to_have_text(f"{len(found.points)} features")
    page.get_by_role("link", name="Jobs").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text(f"Map of {OTHER}")
    expect(page.locator("tbody .state")).to_have_text("done")
    page.locator("tbody a.row").click()
    expect(page.locator(".command code")).to_contain_text(f"map --sae {OTHER}")
    page.get_by_role("link", name="The map").click()
    expect(page.locator("canvas[data-drawn=yes]")).to_be_visible()


def test_a_feature_is_shown_as_the_store_knows_it(opened: Open, sae: str, feature: Feature):
    page = opened(f"{sae}/features/{feature.feature}")
    stats = feature.stats
    expect(page.locator("h1")).to_have_text(f"Feature {feature.feature}")
    expect(page.locator(".title")).to_contain_text(f"Fires on {percent(stats.density)} of tokens")
    measures = dict(reversed(text.split("\n")) for text in page.locator(".measures > div").all_inner_texts())
    assert measures["max"] == number(stats.max_activation)
    assert measures["activations"] == large(stats.n_active)
    assert measures["median"] == number(stats.q[0.5])
    for plot in ("activations", "logits"):
        drawn(page, plot)
    assert page.evaluate("document.querySelector('#activations').data[0].y") == feature.histogram().counts.tolist()
    for side, logits in [("positive", feature.logits().promoted), ("negative", feature.logits().suppressed)]:
        values = page.locator(f".logits .{side} .value").all_inner_texts()
        assert values == [fixed(logit.value) for logit in logits[: len(values)]]
        assert len(values) == 9
    near = page.get_by_label("Neighbours").locator("li a").all_inner_texts()
    assert near == [str(one.feature) for one in feature.neighbours()]
    together = page.locator("#coactive li")
    expect(together.first.locator(".number")).to_have_text(fixed(feature.coactive("jaccard")[0].value))
    page.get_by_role("button", name="pearson").click()
    expect(together.first.locator("a")).to_have_text(str(feature.coactive("pearson")[0].feature))
    page.get_by_text("Provenance").click()
    expect(page.locator("details[open]")).to_contain_text("stdlib-heldout")


def test_every_kind_of_examples(opened: Open, sae: str, feature: Feature):
    page = opened(f"{sae}/features/{feature.feature}")
    top = page.locator("#examples > section").first.locator(".examples > li")
    expect(top.locator(".value")).to_have_text([number(one.value) for one in feature.top(20)])
    expect(top.first.locator(".context")).to_have_text(plain(feature.top(1)[0]), use_inner_text=False)
    expect(page.locator("#quantiles .band")).to_have_count(len(feature.quantile_examples(5)))
    weakest = feature.quantile_examples(5)[-1]
    expect(page.locator("#quantiles h3").last).to_contain_text(f"{percent(weakest.lo)} – {percent(weakest.hi)}")
    drawn_values = {number(one.value) for one in feature.random()}
    shown = page.locator("#random .value")
    expect(shown.first).to_be_visible()
    assert set(shown.all_inner_texts()) <= drawn_values
    negative = page.locator("#negatives .examples > li").first
    expect(negative.locator(".aside a")).to_have_text(str(feature.negatives()[0].neighbour))
    expect(negative.locator(".silent.peak")).to_be_visible()
    first = top.first
    page.get_by_role("button", name="±5").click()
    expect(first.locator(".far").first).to_be_hidden()
    page.get_by_role("button", name="snippet").click()
    assert first.bounding_box()["height"] > 30
    page.get_by_role("button", name="full").click()
    whole = plain(feature.top(1)[0].whole())
    expect(first.locator(".context")).to_have_text(whole, use_inner_text=False)
    page.reload()
    expect(first.locator(".context")).to_have_text(whole, use_inner_text=False)


def test_from_an_example_into_the_test_box(opened: Open, sae: str, feature: Feature):
    page = opened(f"{sae}/features/{feature.feature}")
    drawn(page, "activations")
    rank, example = unbroken(feature)[0]
    shown = page.locator("#examples .examples > li").nth(rank)
    peak = shown.locator(".t.peak")
    peak.hover()
    expect(page.locator(".tip")).to_have_text(number(example.value))
    expect(page.locator("#activations .pin span")).to_have_text(number(example.value))
    shown.locator(".value").click()
    whole = example.whole()
    expect(shown.locator(".context")).to_have_text(plain(whole), use_inner_text=False)
    shown.locator("[data-try]").click()
    expect(page.locator("#live-text")).to_have_value(plain(whole))
    said = page.locator("#live-said")
    expect(said).to_contain_text("Removing it changes the loss of the text by", timeout=60_000)
    n, of, most = re.match(r"Fires on ([\d,]+) of ([\d,]+) tokens, at most ([\d.]*\d)", said.inner_text()).groups()
    assert float(most) == pytest.approx(example.value, rel=0.03)  # the corpus in the test box: the same activations
    assert int(of) == len(whole.tokens) - 1
    assert int(n) == pytest.approx((whole.activations > 0).sum(), abs=1)
    data = page.request.post(f"{sae}/features/{feature.feature}/live.json", data={"text": plain(whole)}).json()
    assert f"{data['loss_change']:+.3g}"[:4].replace("-", "−") in said.inner_text()
    token = page.locator(f"#live-output [data-i='{page.locator('#live-output .context').get_attribute('data-start')}']")
    token.hover()
    expect(page.locator(".effect [data-slot=activation]")).to_have_text(number(data["max_activation"]))
    page.get_by_role("button", name="loss without it").click()
    expect(page.locator("#live")).to_have_attribute("data-shade", "loss")
    second = page.locator("#examples .examples > li").nth(rank + 1 if rank < 19 else 0)
    second.locator(".before").click()
    assert page.locator("#live-text").input_value() == second.locator(".context").evaluate("e => e.textContent")


def test_arrows_walk_the_list_and_keys_are_told(opened: Open, sae: str, truth: FeatureStore):
    page = opened(f"{sae}?filter=n_active+%3E+100&order=mean+desc")
    numbers = order_of(truth, "mean desc", "n_active > 100")
    page.locator("tr[aria-rowindex='3']").click()
    expect(page.locator("h1")).to_have_text(f"Feature {numbers[1]}")
    expect(page.locator(".pager")).to_contain_text(f"2 of {len(numbers)}")
    for key, at in [("ArrowRight", 2), ("ArrowLeft", 1), ("ArrowLeft", 0)]:
        page.wait_for_load_state()  # keys are heard once the page's modules have run
        page.keyboard.press(key)
        expect(page.locator("h1")).to_have_text(f"Feature {numbers[at]}")
    page.wait_for_load_state()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("previous, next feature")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.locator("#filter")).to_have_value("n_active > 100")


def test_labels_notes_and_lists_are_kept(opened: Open, home: str, sae: str, demo: Path, truth: FeatureStore, feature):
    page = opened(f"{sae}/features/{feature.feature}")
    page.get_by_text("Name it").click()
    page.get_by_label("Label", exact=True).fill("first of the demo")
    page.keyboard.press("Enter")
    expect(page.locator(".called")).to_have_text("first of the demo")
    page.get_by_text("Write a note").click()
    page.get_by_label("Note").fill("seen at a test")
    page.get_by_role("button", name="Save").last.click()
    expect(page.locator(".notes")).to_contain_text("seen at a test")
    other = order_of(truth)[0] if order_of(truth)[0] != feature.feature else order_of(truth)[1]
    for number_ in (feature.feature, other):
        page.goto(f"{sae}/features/{number_}")
        page.get_by_text("Add to a list").click()
        page.get_by_label("Name of the list").fill("keepers")
        page.get_by_role("button", name="Add").click()
        expect(page.locator(".on-lists")).to_contain_text("keepers")
    said = truth.remarks(SAE, feature.feature)
    assert (said.label.text, [note.text for note in said.notes], said.lists) == (
        "first of the demo", ["seen at a test"], ["keepers"]
    )  # fmt: skip
    page.goto(sae)
    page.fill("#search", "demo FIRST")
    page.keyboard.press("Enter")
    listed(page, [feature.feature])
    expect(page.locator(".says .label")).to_have_text("first of the demo")
    page.goto(f"{home}/lists")
    expect(page.locator("tbody tr")).to_contain_text("keepers")
    page.locator("tbody a.row").click()
    expect(page.locator("tbody a.row")).to_have_text([str(feature.feature), str(other)])
    page.locator("tbody a.row").first.click()
    expect(page.locator(".pager")).to_contain_text("1 of 2 on keepers")
    page.keyboard.press("ArrowRight")
    expect(page.locator("h1")).to_have_text(f"Feature {other}")
    Annotations(demo).remove_list("keepers")


def test_a_prompt_from_text_to_feature(opened: Open, home: str, demo: Path, truth: FeatureStore):
    page = opened(f"{home}/prompt?sae={SAE}")
    page.fill("#live-text", TEXT)
    page.get_by_role("button", name="Show features").click()
    expect(page.locator("#map .main-svg").first).to_be_visible(timeout=60_000)
    codes = live_codes(Live(demo, load_lm), SAE, TEXT)
    strongest = truth.strongest(codes.offsets, codes.latents, codes.values, SAE).rows()
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(40)
    shown = rows.locator("a.row").all_inner_texts()
    assert shown == [str(row["feature"]) for row in strongest[:40]]
    expect(rows.first).to_contain_text(percent(strongest[0]["normalised"]))
    expect(rows.first).to_contain_text(number(strongest[0]["activation"]))
    assert page.evaluate("document.querySelector('#map').layout.yaxis.ticktext") == shown[:24]
    cells = page.evaluate("document.querySelector('#map').data[0].z[0].map(z => z !== null)")
    assert [i for i, full in enumerate(cells) if full] == [i for i, v in enumerate(codes.of(int(shown[0]))) if v > 0]
    page.locator(".reading a").nth(4).click()
    part = codes.part(4, 5)
    own = truth.strongest(part.offsets, part.latents, part.values, SAE).rows()
    expect(rows).to_have_count(min(len(own), 40))
    expect(rows.locator("a.row").first).to_have_text(str(own[0]["feature"]))
    page.go_back()
    expect(rows.locator("a.row").first).to_have_text(shown[0])
    drawn(page, "map")
    cell = page.evaluate(CELL)
    page.mouse.move(*cell["at"])
    expect(page.locator("#map .hovertext").first).to_be_visible()
    page.mouse.click(*cell["at"])
    expect(page.locator("h1")).to_have_text(f"Feature {cell['feature']}")


def test_two_saes_are_matched_and_two_features_laid_side_by_side(
    opened: Open, home: str, demo: Path, truth: FeatureStore
):
    page = opened(f"{home}/compare")
    page.get_by_label("First SAE").select_option(OTHER)
    page.get_by_label("Second SAE").select_option(SAE)
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("button", name="Match their features").click()
    expect(page.locator("#compared")).to_be_visible(timeout=60_000)
    counts = truth.kept_comparison(OTHER, SAE).summary()
    for row, side in zip(page.locator(".counts tbody tr").all(), ("a", "b"), strict=True):
        shown = [int(text.replace(",", "")) for text in row.get_by_role("link").all_inner_texts()]
        assert sorted(shown) == sorted(n for n in [*counts[side].values(), *[0] * (len(shown) - len(counts[side]))])
    page.reload()
    drawn(page, "cosines")
    rows = page.locator(".matched tbody tr")
    a, b = (int(rows.first.locator("td").nth(i).inner_text()) for i in (0, 5))
    rows.first.locator("a.row").click()
    expect(page.locator("h1")).to_have_text(f"Feature {a} and feature {b}")
    one, other = decoder_rows(demo, OTHER)[a], decoder_rows(demo, SAE)[b]
    cosine = float(one @ other / (one @ one) ** 0.5 / (other @ other) ** 0.5)
    expect(page.locator(".title")).to_contain_text(f"Cosine of their decoder rows {fixed(cosine)}")
    places = [
        {(row["context"], row["position"]) for row in truth.sql(f"FROM activation WHERE feature = {n}", sae).rows()}
        for sae, n in ((OTHER, a), (SAE, b))
    ]
    expect(page.locator(".title")).to_contain_text(f"both active on {large(len(places[0] & places[1]))} tokens")
    for plot in ("activations-1", "activations-2"):
        drawn(page, plot)
    for side, (sae, n) in zip(page.locator(".two > section").all(), ((OTHER, a), (SAE, b)), strict=True):
        expect(side.locator(".examples .value").first).to_have_text(number(truth.feature(sae, n).top(1)[0].value))


def test_steering_from_a_features_page(opened: Open, sae: str, feature: Feature):
    page = opened(f"{sae}/features/{feature.feature}")
    page.get_by_role("link", name="Steer with it").click()
    expect(page.locator("table.next tbody tr")).to_have_count(15, timeout=60_000)
    page.locator("#wishes [type=number]").fill("3")
    page.locator("[name=tokens]").fill("8")
    page.fill("#live-text", TEXT)
    with page.expect_response("**/steer/result*"):
        page.get_by_role("button", name="Run").click()
    page.wait_for_url("**features=*%3A3*")
    expect(page.locator(".result")).not_to_have_attribute("aria-busy", "true")
    asked = {"features": f"{feature.feature}:3", "text": TEXT, "tokens": 8, "sae": SAE}
    data = page.request.get(f"{sae.partition('/saes')[0]}/steer.json", params=asked).json()
    assert data["features"][0]["activation"] == pytest.approx(3 * feature.stats.max_activation)
    for side, name in zip(page.locator(".writing").all(), ("without", "steered"), strict=True):
        assert side.evaluate("e => e.textContent") == TEXT + data[name]["generated"]
    first = page.locator("table.next tbody tr").first.locator(".number")
    expect(first).to_have_text([percent(data["next"][0]["without"]), percent(data["next"][0]["steered"])])


def test_asking_in_sql(opened: Open, home: str, truth: FeatureStore):
    page = opened(f"{home}/sql")
    page.get_by_label("tables of").select_option(SAE)
    query = "SELECT feature, n_active FROM feature ORDER BY n_active DESC, feature LIMIT 3"
    page.get_by_label("Query").fill(query)
    page.keyboard.press("Control+Enter")
    rows = truth.sql(query, SAE).rows()
    expect(page.locator("#result td")).to_have_text([str(cell) for row in rows for cell in row.values()])
    text = page.request.get(home + page.get_by_role("link", name="CSV").get_attribute("href")).text()
    assert list(csv.DictReader(io.StringIO(text))) == [{k: str(v) for k, v in row.items()} for row in rows]
    page.locator("#result a", has_text=str(rows[0]["feature"])).first.click()
    expect(page.locator("h1")).to_have_text(f"Feature {rows[0]['feature']}")


def test_every_page_is_also_data(opened: Open, home: str, feature: Feature):
    page = opened(home)
    described = page.request.get(f"{home}/openapi.json").json()["paths"]
    pair = f"?a={SAE}/{feature.feature}&b={OTHER}/1"
    for path, query, key in [
        ("/home", "", "saes"),
        (f"/saes/{SAE}", "", "density_histogram"),
        (f"/saes/{SAE}/features/{feature.feature}", "", "histogram"),
        (f"/saes/{SAE}/map", "", "points"),
        ("/prompt", f"?sae={SAE}&text=return", "features"),
        ("/steer", f"?sae={SAE}&text=return&tokens=2&features={feature.feature}:1", "steered"),
        ("/compare", f"?a={SAE}&b={OTHER}", "counts"),
        ("/compare/features", pair, "cosine"),
        ("/lists", "", "lists"),
        ("/jobs", "", "jobs"),
        ("/sql", f"?sae={SAE}&q={quote('SELECT 1 AS one')}", "rows"),
    ]:
        data = page.request.get(f"{home}{path}.json{query}")
        assert data.ok, path
        assert key in data.json(), path
        own = "/" if path == "/home" else path
        asked = page.request.get(f"{home}{own}{query}", headers={"accept": "application/json"})
        assert asked.json() == data.json(), path
        shape = f"{path}.json".replace(SAE, "{sae_id}").replace(f"features/{feature.feature}", "features/{feature}")
        assert "get" in described[shape], path
    data = page.request.get(f"{home}/saes/{SAE}/features/{feature.feature}.json").json()
    assert data["stats"]["max_activation"] == pytest.approx(feature.stats.max_activation)
    assert [one["value"] for one in data["top"]] == pytest.approx([one.value for one in feature.top(20)])


def test_a_card_in_another_page(opened: Open, sae: str, feature: Feature):
    page = opened(f"{sae}/features/{feature.feature}?embed=1")
    drawn(page, "activations")
    values = [number(one.value) for one in feature.top(5)]
    expect(page.locator(".examples .value")).to_have_text(values)
    page.set_content(f'<iframe src="{sae}/features/{feature.feature}?embed=1"></iframe>')
    expect(page.frame_locator("iframe").locator(".examples .value")).to_have_text(values)


def test_every_page_fits_a_phone(opened: Open, home: str, feature: Feature):
    page = opened(home, "dark", "phone")
    for path in (
        "/",
        f"/saes/{SAE}",
        f"/saes/{SAE}/features/{feature.feature}",
        f"/compare?a={OTHER}&b={SAE}",
        f"/compare/features?a={SAE}/{feature.feature}&b={OTHER}/1",
        "/lists",
        "/jobs",
        "/sql",
    ):
        page.goto(home + path)
        expect(page.locator(".plot:not([data-drawn])")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES["phone"][0], path


CELL = """() => {
  const plot = document.querySelector("#map"), trace = plot.data[0];
  const i = trace.z[0].findIndex(z => z !== null);
  const { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
  const at = [box.left + xaxis._offset + xaxis.d2p(trace.x[i]), box.top + yaxis._offset + yaxis.c2p(0)];
  return { feature: trace.customdata[0][i][0], at };
}"""
