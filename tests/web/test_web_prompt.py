"""The prompt page against a dense computation; and in a real Chromium."""

from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import synthetic
from fastapi.testclient import TestClient
from playwright.sync_api import expect
from screens import SIZES
from test_web_live import dense_truth

import web
from saebench.lm import load_lm
from store import FeatureStore
from web.routes.model import MOST_IN_A_LINK

TEXT = "def f(self):\n\treturn self.x + 1\nfor item in items:\n    print(item)\n"


def ranking(store: FeatureStore, codes: np.ndarray) -> list[tuple[int, float]]:
    """(feature, share of its maximum) of [tokens, features], strongest first; those without a maximum come last."""
    maxima = np.array([r["max_activation"] for r in store.features(synthetic.SAE).order("feature").rows()])
    largest = codes.max(0)
    active = np.flatnonzero(largest > 0)
    return sorted(
        ((int(f), float(largest[f] / maxima[f])) for f in active if maxima[f] > 0), key=lambda row: (-row[1], row[0])
    )


@pytest.mark.parametrize("token", [None, 5])
def test_the_ranking_is_that_of_a_dense_computation(client: TestClient, workspace: Path, store: FeatureStore, token):
    codes = dense_truth(workspace, TEXT)
    query = {"text": TEXT, "sae": synthetic.SAE} | ({} if token is None else {"token": token})
    data = client.get("/prompt.json", params=query).json()
    assert "".join(data["tokens"]) == TEXT
    part = codes if token is None else codes[token : token + 1]
    truth = ranking(store, part)[: len(data["features"])]
    found = [(row["feature"], row["share"]) for row in data["features"] if row["share"] is not None]
    np.testing.assert_allclose([share for _, share in found], [share for _, share in truth[: len(found)]], rtol=1e-3)
    assert {feature for feature, _ in found[:5]} == {feature for feature, _ in truth[:5]}
    assert data["n_features"] == int((part.max(0) > 0).sum())
    assert data["l0"] == pytest.approx((codes > 0).sum() / len(codes))
    for row in data["features"]:
        np.testing.assert_allclose(row["activations"], codes[:, row["feature"]], atol=1e-4)
        assert row["n_tokens"] == (codes[:, row["feature"]] > 0).sum()
        assert row["token"] == (token if token is not None else int(codes[:, row["feature"]].argmax()))


def test_a_character_split_over_tokens_is_one(client: TestClient):
    data = client.get("/prompt.json", params={"text": "🙂é", "sae": synthetic.SAE}).json()
    assert "".join(data["tokens"]) == "🙂é"
    assert data["n_tokens"] > len(data["tokens"]) == 2


@pytest.mark.parametrize(
    ("query", "status", "cause"),
    [
        ({"text": ""}, 422, "empty"),
        ({}, 422, "text"),
        ({"text": "a" * (MOST_IN_A_LINK + 1)}, 413, "4,001 characters"),
        ({"text": "x", "sae": "nothing"}, 404, "no SAE 'nothing'"),
        ({"text": "x", "corpus": "nowhere", "sae": synthetic.SAE}, 404, "no index on corpus 'nowhere'"),
        ({"text": "x", "token": 99}, 404, "no token 99"),
        ({"text": "x", "token": "first"}, 422, "token"),
        ({"text": "x", "sae": "hostile.sae"}, 503, "does not say which model"),
    ],
)
def test_what_cannot_be_ranked_is_said(client: TestClient, query: dict, status: int, cause: str):
    query = {"sae": synthetic.SAE} | query
    answer = client.get("/prompt.json", params=query)
    assert answer.status_code == status
    assert cause in answer.json()["cause"]
    if "text" in query and query.get("token") != "first":
        shown = client.get("/prompt/result", params=query)
        assert shown.status_code == status
        assert 'role="alert"' in shown.text


def test_without_model_or_index_the_page_says_so(workspace: Path, tmp_path: Path):
    assert (
        "runs without a language model" in TestClient(web.create_app(workspace), "http://127.0.0.1").get("/prompt").text
    )
    empty = TestClient(web.create_app(tmp_path, load_lm), "http://127.0.0.1").get("/prompt").text
    assert f"saebench demo --workspace {tmp_path}" in empty
    assert (
        TestClient(web.create_app(tmp_path, load_lm), "http://127.0.0.1").get("/prompt.json?text=x").status_code == 404
    )


@pytest.mark.browser
def test_from_a_text_to_a_token_to_a_feature(opened, address: str, client: TestClient):
    page = opened(f"{address}/prompt?sae={synthetic.SAE}")
    page.keyboard.press("t")
    page.keyboard.insert_text(TEXT)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#map .main-svg").first).to_be_visible()
    assert page.locator(".reading").evaluate("e => e.textContent") == TEXT
    whole = client.get("/prompt.json", params={"text": TEXT, "sae": synthetic.SAE}).json()["features"]
    expect(page.locator("tbody tr a.row").first).to_have_text(str(whole[0]["feature"]))
    page.locator(".reading a").nth(5).click()
    expect(page.locator(".reading a[aria-current]")).to_have_count(1)
    own = client.get("/prompt.json", params={"text": TEXT, "sae": synthetic.SAE, "token": 5}).json()["features"]
    expect(page.locator("tbody tr")).to_have_count(len(own))
    assert "token=5" in page.url
    page.reload()
    expect(page.locator("tbody tr a.row").first).to_have_text(str(own[0]["feature"]))
    page.go_back()
    expect(page.locator("tbody tr a.row").first).to_have_text(str(whole[0]["feature"]))
    steer = page.get_by_role("link", name="steer", exact=True).first.get_attribute("href")
    assert f"features={whole[0]['feature']}%3A1" in steer
    page.locator("tbody a.row").first.click()
    expect(page.locator("h1")).to_have_text(f"Feature {whole[0]['feature']}")


@pytest.mark.browser
@pytest.mark.parametrize("size", list(SIZES))
def test_the_page_fits_the_screen_and_is_accessible(opened, address: str, size: str):

    for theme in ("light", "dark"):
        page = opened(f"{address}/prompt?sae={synthetic.SAE}&text={quote(2 * TEXT)}", theme, size)
        expect(page.locator("#map .main-svg").first).to_be_visible()
        named = page.locator("#map .xtick").count() > 0
        assert named == (size == "desk"), "on a phone the tokens' names would run into each other"
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]


@pytest.mark.browser
def test_text_that_looks_like_markup_is_text(opened, address: str):
    hostile = "</script><script>document.title='broken'</script><img src=x onerror=alert(1)>{{ 7 * 7 }}"
    page = opened(f"{address}/prompt?sae={synthetic.SAE}")
    page.fill("#live-text", hostile)
    page.get_by_role("button", name="Show features").click()
    expect(page.locator("#map .main-svg").first).to_be_visible()
    assert page.locator(".reading").evaluate("e => e.textContent") == hostile
    assert page.title() != "broken"
    assert page.locator("img").count() == 0
