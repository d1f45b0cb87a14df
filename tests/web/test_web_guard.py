"""Who may ask, how much they may send, in which form they are answered, and what they need not be sent again."""

import re
from pathlib import Path

import pytest
import synthetic
from fastapi.testclient import TestClient

import web
from store import FeatureStore
from web.middleware.limits import LARGEST_BODY
from web.middleware.token import COOKIE

HOME = "http://127.0.0.1"
TOKEN = "a-token-of-twenty-four-b"
LABEL = f"/saes/{synthetic.SAE}/features/3/label"


@pytest.fixture
def guarded(workspace: Path) -> TestClient:
    return TestClient(web.create_app(workspace, token=TOKEN, hosts=None), HOME, follow_redirects=False)


def every_route(app) -> list[tuple[str, str]]:
    """(method, path) of all routes, with something in place of each parameter."""
    found = [("GET", "/openapi.json"), ("GET", "/favicon.ico"), ("GET", f"/static/{web.urls.urls.fingerprint}/keys.js")]
    for path, methods in app.openapi()["paths"].items():
        found += [(method.upper(), re.sub(r"\{[^}]*\}", "1", path)) for method in methods]
    return found


def test_without_the_token_nothing_is_answered(guarded: TestClient):
    routes = every_route(guarded.app)
    assert len(routes) > 15
    for method, path in routes:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": f"{COOKIE}={TOKEN[:-1]}"}):
            answer = guarded.request(method, path, headers=headers)
            assert (answer.status_code, answer.headers["x-content-type-options"]) == (401, "nosniff"), path
    assert "?token=" in guarded.get("/", headers={"Accept": "text/html"}).text


def test_the_token_opens_as_cookie_header_or_once_in_the_address(guarded: TestClient):
    assert guarded.get("/home.json", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert guarded.get("/", params={"token": "wrong"}).status_code == 401
    first = guarded.get("/saes/x?filter=mean+%3E+1&token=" + TOKEN)
    assert (first.status_code, first.headers["location"]) == (303, "/saes/x?filter=mean+%3E+1")
    cookie = first.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert guarded.get("/home.json").status_code == 200  # with the cookie
    guarded.cookies.clear()
    assert guarded.get(f"{HOME}//elsewhere.example/?token={TOKEN}").headers["location"] == "/elsewhere.example/"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9"},
        {"Origin": "http://[broken"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": HOME},
    ],
)
def test_writes_of_other_sites_are_refused(client: TestClient, store: FeatureStore, headers: dict[str, str]):
    answer = client.put(LABEL, json={"text": "planted"}, headers=headers)
    assert answer.status_code == 403
    assert store.remarks(synthetic.SAE, 3).label is None
    assert client.get("/home.json", headers=headers).status_code == 200


def test_the_dashboards_own_writes_are_kept(client: TestClient, store: FeatureStore):
    for headers in ({"Origin": HOME, "Sec-Fetch-Site": "same-origin"}, {}):
        answer = client.put(LABEL, json={"text": "three"}, headers=headers)
        assert answer.json()["label"] == "three"
        assert store.remarks(synthetic.SAE, 3).label.text == "three"
        assert client.delete(LABEL, headers=headers).json()["label"] is None


@pytest.mark.parametrize(
    "host", ["elsewhere.example", "elsewhere.example:8000", "127.0.0.1.elsewhere.example", "[", ""]
)
def test_other_names_for_this_machine_are_refused(client: TestClient, host: str):
    assert client.get("/home.json", headers={"Host": host}).status_code == 421
    for own in ("localhost:8000", "127.0.0.1:80", "[::1]:8000"):
        assert client.get("/home.json", headers={"Host": own}).status_code == 200


def test_bodies_are_bounded_whether_or_not_they_say_how_long_they_are(client: TestClient):
    def pieces():
        for _ in range(LARGEST_BODY // 1000 + 2):
            yield b" " * 1000

    for content in (b" " * (LARGEST_BODY + 1), pieces()):
        answer = client.put(LABEL, content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["title"]) == (413, "Too long")
    assert client.put(LABEL, content=b'{"text": ' + b" " * (LARGEST_BODY // 2)).status_code == 422


@pytest.mark.parametrize(
    "path", ["/", "/saes/{sae}", "/saes/{sae}/features/5", "/saes/{sae}/features/5/examples/random"]
)
def test_accept_chooses_between_page_and_data(client: TestClient, path: str):
    path = path.replace("{sae}", synthetic.SAE)
    data = client.get(path, headers={"Accept": "application/json"})
    assert data.json() == client.get("/home.json" if path == "/" else f"{path}.json").json()
    page = client.get(path, headers={"Accept": "text/html,application/json;q=0.5"})
    assert page.headers["content-type"].startswith("text/html")


def test_what_has_not_changed_is_not_sent_again(client: TestClient, store: FeatureStore):
    path = f"/saes/{synthetic.SAE}/features/5"
    for address, headers in (
        (path, {}),
        (path, {"Accept": "application/json"}),
        (path + ".json", {}),
        (path + "?order=mean", {}),
        (path + "/contexts/2", {}),
        (path + "/examples/random", {}),
    ):
        tag = client.get(address, headers=headers).headers["ETag"]
        again = client.get(address, headers={**headers, "If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
        assert "default-src 'self'" in again.headers["content-security-policy"]
    tags = {client.get(a).headers["ETag"] for a in (path, path + ".json", path + "?order=mean", path[:-1] + "6")}
    assert len(tags) == 4
    as_data = client.get(path, headers={"Accept": "application/json"}).headers["ETag"]
    assert client.get(path, headers={"If-None-Match": as_data}).status_code == 200  # of the other form
    store.note(synthetic.SAE, 5, "seen")
    changed = client.get(path + ".json", headers={"If-None-Match": as_data})
    assert [note["text"] for note in changed.json()["remarks"]["notes"]] == ["seen"]


def test_what_changes_without_the_workspace_is_always_sent(client: TestClient):
    for path in ("/", "/home.json", "/runs", "/nowhere", f"/saes/{synthetic.SAE}/features/999999"):
        assert "ETag" not in client.get(path).headers
