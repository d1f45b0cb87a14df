"""Lists of features, from the address bar and from a browser; the store's Annotations are the truth."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
import synthetic
from fastapi.testclient import TestClient
from hostile import SAE as HOSTILE
from playwright.sync_api import Browser, expect
from tiny import TRAINING

import web
from store import Annotations, Explanation, FeatureStore
from web.views.lists import place_on_list
from web.workspace import Workspace

NAME = "naïve “lists” & <b>50%"


@pytest.fixture
def copied(workspace: Path, tmp_path: Path) -> Path:
    """Nobody has said anything in it."""
    shutil.copytree(workspace, tmp_path / "copied", symlinks=True, ignore=shutil.ignore_patterns("catalog.duckdb*"))
    return tmp_path / "copied"


@pytest.fixture
def own(copied: Path) -> TestClient:
    return TestClient(web.create_app(copied), "http://127.0.0.1", raise_server_exceptions=False)


def address(name: str = NAME, *, ending: str = "") -> str:
    return web.urls.urls.feature_list(name) + ending


def test_a_list_is_made_filled_shown_and_removed(own: TestClient, copied: Path):
    made = own.post("/lists", json={"name": f" {NAME} ", "description": "<script>"})
    assert (made.status_code, made.headers["location"]) == (201, address())
    for sae, feature in [(synthetic.SAE, 7), (HOSTILE, 0), (synthetic.SAE, 3), (synthetic.SAE, 7)]:
        assert own.put(f"{address()}/features/{sae}/{feature}").status_code == 204
    assert own.delete(f"{address()}/features/{synthetic.SAE}/3").status_code == 204
    kept = Annotations(copied)
    kept.set_label(synthetic.SAE, 7, "blanks", "x")
    kept.add_explanations([Explanation(HOSTILE, "c", 0, "m", str(v), f"said {v}", v / 10) for v in (3, 9, 5)])
    kept.add_to_list(NAME, "gone.sae", 5, "x")
    data = own.get(address(ending=".json")).json()
    assert [(row["sae"], row["feature"]) for row in data["features"]] == [
        (synthetic.SAE, 7),
        (HOSTILE, 0),
        ("gone.sae", 5),
    ]
    assert [(row["label"], row["explanation"]) for row in data["features"]] == [
        ("blanks", None),
        (None, "said 9"),
        (None, None),
    ]
    with FeatureStore.open(copied) as store:
        stats = store.feature(synthetic.SAE, 7).stats
    assert data["features"][0]["density"] == stats.density
    assert data["features"][2]["density"] is None
    page = own.get(address()).text
    assert "<script>" not in page.replace("<script ", "")
    assert "naïve “lists” &amp; &lt;b&gt;50%" in page
    rows = list(csv.DictReader(io.StringIO(own.get(address(ending=".csv")).text)))
    assert [(row["sae"], int(row["feature"])) for row in rows] == [(r["sae"], r["feature"]) for r in data["features"]]
    assert own.put(address(), json={"description": "better"}).status_code == 204
    assert [one["description"] for one in own.get("/lists.json").json()["lists"]] == ["better"]
    assert own.delete(address()).status_code == 204
    assert own.get("/lists.json").json() == {"lists": []}
    assert kept.labels(synthetic.SAE)[7].text == "blanks"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/lists/none", None, 404),
        ("GET", "/lists/none.json", None, 404),
        ("DELETE", "/lists/none", None, 404),
        ("PUT", "/lists/none", {"description": ""}, 404),
        ("PUT", f"/lists/x/features/{synthetic.SAE}/300", None, 422),
        ("PUT", f"/lists/x/features/{TRAINING}/0", None, 404),
        ("PUT", f"/lists/.x/features/{synthetic.SAE}/0", None, 422),
        ("POST", "/lists", {"name": "a/b"}, 422),
        ("POST", "/lists", {"name": "a\ud800"}, 422),
        ("POST", "/lists", {"name": ""}, 422),
        ("POST", "/lists", {}, 422),
    ],
)
def test_what_cannot_be_done_says_why(own: TestClient, method: str, path: str, body: object, status: int):
    headers = {"content-type": "application/json"}
    content = None if body is None else json.dumps(body)
    answer = own.request(method, path, content=content, headers=headers)
    assert answer.status_code == status
    if method != "GET":
        assert answer.json()["cause"]
    assert own.get("/lists.json").json() == {"lists": []}


def test_looking_makes_no_catalogue(tmp_path: Path):
    own = TestClient(web.create_app(tmp_path), base_url="http://127.0.0.1")
    assert "No lists yet" in own.get("/lists").text
    assert list(tmp_path.iterdir()) == []


def test_the_place_on_a_list(copied: Path):
    kept = Annotations(copied)
    for sae, feature in [(synthetic.SAE, 9), (HOSTILE, 1), (synthetic.SAE, 2)]:
        kept.add_to_list("l", sae, feature, "x")
    here = Workspace(copied)
    assert place_on_list(here, "l", HOSTILE, 1) == ((synthetic.SAE, 9), (synthetic.SAE, 2), "2 of 3 on l")
    assert place_on_list(here, "l", synthetic.SAE, 9) == (None, (HOSTILE, 1), "1 of 3 on l")
    assert place_on_list(here, "l", HOSTILE, 2) is None


@pytest.mark.browser
def test_a_person_makes_fills_and_empties_a_list(chromium: Browser, served, copied: Path):
    page = chromium.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    home = served(copied)
    page.goto(f"{home}/lists")
    expect(page.locator(".empty")).to_contain_text("No lists yet")
    page.get_by_label("Name of a new list").fill("a/b")
    page.get_by_role("button", name="Make list").click()
    expect(page.locator(".problem")).to_contain_text("cannot name a list")
    page.get_by_label("Name of a new list").fill("to look at?")
    page.get_by_role("button", name="Make list").click()
    expect(page.locator("h1")).to_have_text("to look at?")
    expect(page.locator(".empty")).to_contain_text("Nothing on this list yet")
    for feature in (5, 2):
        Annotations(copied).add_to_list("to look at?", synthetic.SAE, feature, "x")
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_role("button", name="Take feature 5").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.locator("tbody tr a").click()
    expect(page.locator("h1")).to_have_text("Feature 2")
    page.go_back()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Remove this list").click()
    expect(page.locator(".empty")).to_contain_text("No lists yet")
    assert (Annotations(copied).lists(), problems) == ([], [])
    page.close()
