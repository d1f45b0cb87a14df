"""The steer page against transformers with a hook by hand; and in a real Chromium."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import synthetic
import tiny
import torch
from fastapi.testclient import TestClient
from playwright.sync_api import expect
from screens import SIZES
from transformers import AutoTokenizer, GPT2LMHeadModel

import web
from saebench.saes import SAE
from store import Annotations, FeatureStore
from web.errors import ProblemError
from web.live import Continuation, Steered
from web.models.steer import SteeredFeature
from web.views.steer import SteerView
from web.views.wishes import Wish, read_wishes, write_wishes

TEXT = "def f(self):"
QUERY = {"text": TEXT, "sae": synthetic.SAE, "tokens": 8}


def steered_by_hand(workspace: Path, activations: dict[int, float], n: int) -> tuple[str, torch.Tensor]:
    """(greedy continuation, next-token probabilities), each pass over the whole text, activation · row added."""
    folder = workspace.parent / "tiny-lm"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
    W_dec = SAE.load(workspace / "saes" / synthetic.SAE).W_dec.detach()
    added = sum((value * W_dec[feature] for feature, value in activations.items()), torch.zeros(tiny.WIDTH))

    def add(_module, _inputs, output):
        x = (output[0] if isinstance(output, tuple) else output).clone()
        x[0, 1:] += added
        return (x, *output[1:]) if isinstance(output, tuple) else x

    model.transformer.h[0].register_forward_hook(add)
    tokens = [tokenizer.bos_token_id, *tokenizer(TEXT, add_special_tokens=False)["input_ids"]]
    shares, written = None, []
    for _ in range(n):
        with torch.no_grad():
            logits = model(torch.tensor([tokens + written])).logits[0, -1]
        shares = logits.softmax(-1) if shares is None else shares
        if int(logits.argmax()) == tokenizer.eos_token_id:
            break
        written.append(int(logits.argmax()))
    return tokenizer.decode(written), shares


def test_steering_equals_a_hook_by_hand(client: TestClient, workspace: Path, store: FeatureStore):
    maxima = {f: store.feature(synthetic.SAE, f).stats.max_activation for f in (1, 9)}
    data = client.get("/steer.json", params=QUERY | {"features": "1:4,9:-2.5"}).json()
    plain, before = steered_by_hand(workspace, {}, 8)
    steered, after = steered_by_hand(workspace, {1: 4 * maxima[1], 9: -2.5 * maxima[9]}, 8)
    assert data["without"]["generated"] == plain
    assert data["steered"]["generated"] == steered != plain
    most = torch.maximum(before, after).topk(15)
    assert [max(row["without"], row["steered"]) for row in data["next"]] == pytest.approx(
        most.values.tolist(), abs=1e-5
    )
    assert [row["steered"] for row in data["next"]] == pytest.approx(after[most.indices].tolist(), abs=1e-5)
    divergence = float((before * (before / after).log()).sum())
    assert data["divergence"] == pytest.approx(divergence, abs=1e-4)
    assert [f["activation"] for f in data["features"]] == pytest.approx([4 * maxima[1], -2.5 * maxima[9]])


def test_strength_zero_changes_nothing_and_a_seed_is_repeatable(client: TestClient):
    drawn = QUERY | {"temperature": 1.3, "tokens": 12}
    for seed in (0, 7):
        data = client.get("/steer.json", params=drawn | {"features": "1:0", "seed": seed}).json()
        assert data["without"] == data["steered"]
        assert data["divergence"] == 0
    a, b, c = (client.get("/steer.json", params=drawn | {"features": "1:2", "seed": s}).json() for s in (3, 3, 4))
    assert a == b
    assert a["steered"] != c["steered"]


def test_features_of_another_sae_of_the_model(client: TestClient, workspace: Path):
    from urllib.parse import quote

    own = client.get("/steer.json", params=QUERY | {"features": "1:4"}).json()
    named = client.get("/steer.json", params=QUERY | {"features": f"{quote(synthetic.SAE, safe='')}/1:4"}).json()
    assert own["steered"] == named["steered"]


@pytest.mark.parametrize(
    ("query", "status", "cause"),
    [
        ({"features": "1:4", "text": ""}, 422, "empty"),
        ({"features": ""}, 422, "No feature is given"),
        ({"features": "1"}, 422, "'1' is not a feature and a strength"),
        ({"features": "1:nan"}, 422, "not a feature and a strength"),
        ({"features": "1:1e999"}, 422, "strength of feature 1"),
        ({"features": "1:101"}, 422, "strength of feature 1 is 101"),
        ({"features": "1:1,1:2"}, 422, "twice"),
        ({"features": ",".join(f"{n}:1" for n in range(21))}, 422, "20 can be steered"),
        ({"features": "300:1"}, 404, "no feature 300"),
        ({"features": f"{synthetic.DEAD[0]}:1"}, 422, "never fires"),
        ({"features": "gone/1:1"}, 404, "no SAE 'gone'"),
        ({"features": "1:1", "tokens": 31}, 422, "the model reads 32"),
        ({"features": "1:1", "tokens": 0}, 422, "tokens"),
        ({"features": "1:1", "temperature": "nan"}, 422, "temperature"),
        ({"features": "1:1", "seed": -1}, 422, "seed"),
        ({"features": "hostile.sae/0:1"}, 503, "does not say which model"),
    ],
)
def test_what_cannot_be_steered_is_said(client: TestClient, query: dict, status: int, cause: str):
    answer = client.get("/steer.json", params=QUERY | query)
    assert answer.status_code == status
    assert cause in answer.json()["cause"]


def test_without_a_model_the_page_says_so(workspace: Path):
    bare = TestClient(web.create_app(workspace), "http://127.0.0.1")
    assert "runs without a language model" in bare.get("/steer").text
    assert bare.get("/steer.json", params=QUERY | {"features": "1:1"}).status_code == 503


def test_links_hold_any_id_and_strength():
    wishes = [Wish("main", 12, 4.0), Wish("a,b:c/d%", 3, -0.25), Wish("x.y-z", 0, 1e-3)]
    assert read_wishes(write_wishes(wishes, "main"), "main") == wishes
    assert read_wishes(" 12:4 , 33:-2,", "s") == [Wish("s", 12, 4.0), Wish("s", 33, -2.0)]
    for wrong in ("a:b", "1:2:3", "/1:2", "1:-", "1:inf"):
        with pytest.raises(ProblemError):
            read_wishes(wrong, "s")
    assert math.isfinite(read_wishes("1:1e-300", "s")[0].strength)


def test_features_are_found_by_number_and_by_words(client: TestClient, workspace: Path):
    Annotations(workspace).set_label(synthetic.SAE, 21, "closing brackets of calls", "someone")
    find = lambda q: client.get("/steer/find.json", params={"sae": synthetic.SAE, "q": q}).json()  # noqa: E731
    assert [(f["feature"], f["said"]) for f in find("brackets CLOSING")] == [(21, "closing brackets of calls")]
    assert [f["feature"] for f in find("9")] == [9]
    assert find("no such words") == find("") == find(str(synthetic.DEAD[0])) == find("99999") == []


def test_a_dense_feature_does_not_shade_what_the_others_leave():
    def shaded(*dense: bool) -> list[bool]:
        features = [
            SteeredFeature(
                sae="s", feature=n, said=None, promoted=[], strength=1, max_activation=4, dense=own, activation=4
            )
            for n, own in enumerate(dense)
        ]
        side = Continuation([b"a", b"b", b"c"], np.array([[4, 0, 0], [2, 2, 2]], np.float32))
        view = SteerView("s", "a", features, 2, 0.0, 0, Steered(1, side, side, [], 0.0))
        return [f">{letter}</span>" in view.sides[0][1] for letter in "abc"]

    assert shaded(False, False) == [True, True, True]
    assert shaded(False, True) == [True, False, False]
    assert shaded(True, True) == [True, True, True]


@pytest.mark.browser
def test_choosing_features_and_running(opened, address: str, client: TestClient):
    page = opened(f"{address}/steer?sae={synthetic.SAE}&tokens=8")
    page.fill("#live-text", TEXT)
    page.fill("#find", "9")
    expect(page.locator("#found li")).to_have_count(1)
    page.locator("#find").press("Enter")
    page.keyboard.type("4")  # the strength is selected
    page.keyboard.press("Control+Enter")
    truth = client.get("/steer.json", params=QUERY | {"features": "9:4"}).json()
    expect(page.locator("table.next tbody tr")).to_have_count(15)
    for side, name in zip(page.locator(".writing").all(), ("without", "steered"), strict=True):
        written = re.sub("⟨.*?⟩", "", "".join(truth[name]["tokens"]))  # glyphs are drawn by the stylesheet
        assert side.evaluate("e => e.textContent") == written
    assert "features=9%3A4" in page.url
    page.reload()  # the address holds it all
    expect(page.locator("table.next tbody tr")).to_have_count(15)
    expect(page.locator("#wishes [type=number]")).to_have_value("4")
    page.locator("#wishes [type=range]").fill("-2")
    expect(page.locator("#wishes [type=number]")).to_have_value("-2")
    page.get_by_role("button", name="Run").click()
    page.wait_for_url("**features=9%3A-2*")
    page.get_by_role("button", name="Remove feature 9").click()
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text("No feature is given")


@pytest.mark.browser
@pytest.mark.parametrize("size", list(SIZES))
def test_the_page_fits_the_screen_and_is_accessible(opened, address: str, size: str):

    page = opened(f"{address}/steer?sae={synthetic.SAE}&features=9:1&text=for+item&tokens=8", "light", size)
    expect(page.locator("table.next tbody tr")).to_have_count(15)
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
