"""The SQL box as a page, JSON and CSV; what a query may do is tested with the store."""

import csv
import io

import pytest
import synthetic
from fastapi.testclient import TestClient
from hostile import SAE as HOSTILE
from playwright.sync_api import Browser, expect

from store import FeatureStore

DENSEST = "SELECT feature, density, promoted FROM feature ORDER BY density DESC, feature LIMIT 5"


def test_rows_as_json_and_csv(client: TestClient, store: FeatureStore):
    truth = store.sql(DENSEST, synthetic.SAE).rows()
    data = client.get("/sql.json", params={"q": DENSEST, "sae": synthetic.SAE}).json()
    assert [column["name"] for column in data["columns"]] == ["feature", "density", "promoted"]
    assert data["rows"] == [list(row.values()) for row in truth]
    text = client.get("/sql.csv", params={"q": DENSEST, "sae": synthetic.SAE}).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(int(row["feature"]), float(row["density"])) for row in rows] == [
        (row["feature"], row["density"]) for row in truth
    ]
    many = client.get("/sql.json", params={"q": "FROM range(5000)"}).json()
    assert (len(many["rows"]), many["more"]) == (1000, True)
    assert len(client.get("/sql.csv", params={"q": "FROM range(5000)"}).text.split()) == 5001


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("", "empty"),
        ("SELECT 1; SELECT 2", "one query"),
        ("FROM read_text('/etc/passwd')", "disabled"),
        ("x", "syntax"),
    ],
)
def test_what_cannot_be_answered_says_why(client: TestClient, query: str, says: str):
    for path in ("/sql.json", "/sql.csv"):
        answer = client.get(path, params={"q": query})
        assert answer.status_code == 422
        assert says in answer.text
    assert "root:" not in client.get("/sql", params={"q": query}).text


def test_what_is_shown_is_escaped(client: TestClient):
    query = "SELECT '<script>x</script>' AS \"<b>\", name FROM document"
    page = client.get("/sql", params={"q": query, "sae": HOSTILE}).text
    assert "<script>x" not in page
    assert "<script>document.title" not in page
    assert "&lt;b&gt;" in page


@pytest.mark.browser
def test_a_person_asks_errs_and_asks_again(chromium: Browser, address: str, store: FeatureStore):
    page = chromium.new_page()
    problems: list[str] = []
    page.on("console", lambda m: problems.append(m.text) if m.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{address}/sql")
    page.get_by_label("tables of").select_option(synthetic.SAE)
    page.get_by_label("Query").fill("SELECT feature, densty\nFROM feature")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".wrong mark")).to_have_text("densty")
    expect(page.locator(".wrong")).to_contain_text("Candidate bindings")
    page.get_by_label("Query").fill(DENSEST)
    page.get_by_role("button", name="Run").click()
    truth = [row["feature"] for row in store.sql(DENSEST, synthetic.SAE).rows()]
    expect(page.locator("#result tbody tr td:first-child")).to_have_text([str(feature) for feature in truth])
    assert "q=SELECT" in page.url
    page.reload()
    expect(page.locator("#result tbody tr")).to_have_count(5)
    page.locator("summary", has_text="neighbour").click()
    page.locator("details[open] button", has_text="cosine").click()
    assert page.get_by_label("Query").input_value().endswith("cosine")
    page.locator("#result tbody a").first.click()
    expect(page.locator("h1")).to_have_text(f"Feature {truth[0]}")
    assert problems == []
    page.close()
