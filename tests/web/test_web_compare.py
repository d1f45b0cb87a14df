"""Two SAEs, and two features, side by side: against brute force over the codes and the decoder rows."""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import synthetic
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, expect
from safetensors.numpy import load_file, save_file

import web
from store import FeatureStore

OTHER = "other.sae"


@pytest.fixture(scope="module")
def own(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace with a second SAE on the same text: same codes, decoder rows shuffled and some of them turned."""
    copied = tmp_path_factory.mktemp("compare") / "workspace"
    shutil.copytree(workspace, copied)
    synthetic.build(copied, sae=OTHER)
    (copied / "saes" / OTHER).mkdir()
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(synthetic.N_FEATURES, 64)).astype(np.float32)
    others = rows.copy()
    others[:100] = rows[rng.permutation(100)]
    others[100:150] += 2 * rng.normal(size=(50, 64)).astype(np.float32)  # nothing like them
    others[200:210] = rows[:10] + 0.3 * rng.normal(size=(10, 64)).astype(np.float32)  # a second half of the first ten
    save_file({"W_dec": rows}, copied / "saes" / synthetic.SAE / "sae.safetensors")
    save_file({"W_dec": others}, copied / "saes" / OTHER / "sae.safetensors")
    return copied


@pytest.fixture(scope="module")
def compared(own: Path) -> Iterator[FeatureStore]:
    with FeatureStore.open(own, threads=1) as store:
        assert store.kept_comparison(synthetic.SAE, OTHER) is None
        store.keep_comparison(synthetic.SAE, OTHER)
        yield store


def unit(folder: Path, sae: str) -> np.ndarray:
    rows = load_file(folder / "saes" / sae / "sae.safetensors")["W_dec"].astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def client(path: Path) -> TestClient:
    return TestClient(web.create_app(path), base_url="http://127.0.0.1", raise_server_exceptions=False)


def places(store: FeatureStore, sae: str, feature: int) -> set[tuple[int, int]]:
    rows = store.sql(f"SELECT context, position FROM activation WHERE feature = {feature}", sae).rows()
    return {(row["context"], row["position"]) for row in rows}


def test_counts_and_rows_are_those_of_brute_force(own: Path, compared: FeatureStore):
    cosines = unit(own, synthetic.SAE) @ unit(own, OTHER).T
    alive = [row["feature"] for row in compared.features(synthetic.SAE).filter("NOT dead").rows()]
    best = cosines[np.ix_(alive, alive)].max(1)
    data = client(own).get("/compare.json", params={"a": synthetic.SAE, "b": OTHER, "status": "vanished"}).json()
    assert data["counts"]["a"]["vanished"] == (best < 0.7).sum()
    assert data["counts"]["a"]["dead"] == len(synthetic.DEAD)
    words = Counter(row["status"] for row in compared.compare(synthetic.SAE, OTHER).b.select("status").rows())
    assert data["counts"]["b"] == words
    seen = []
    for number in range(1, 20):
        params = {"a": synthetic.SAE, "b": OTHER, "status": "kept", "page": number}
        page = client(own).get("/compare.json", params=params).json()
        seen += page["rows"]
        if not page["rows"]:
            break
    assert len(seen) == data["counts"]["a"]["kept"] == page["total"]
    assert [row["cosine"] for row in seen] == sorted((row["cosine"] for row in seen), reverse=True)
    for row in seen[::17]:
        feature, nearest = row["feature"]["feature"], row["nearest"]["feature"]
        assert cosines[feature, nearest] == pytest.approx(row["cosine"], abs=1e-5)
        assert cosines[feature, alive].max() == pytest.approx(row["cosine"], abs=1e-5)
        assert row["nearest"]["promoted"] == compared.feature(OTHER, nearest).stats.promoted


def test_a_kept_comparison_is_not_made_again(own: Path, compared: FeatureStore, monkeypatch: pytest.MonkeyPatch):
    def never(*_: object) -> None:
        raise AssertionError("compared again")

    monkeypatch.setattr("store.reader.compared", never)
    again = compared.kept_comparison(synthetic.SAE, OTHER)
    assert again is not None
    assert again.a.arrow().num_rows == synthetic.N_FEATURES
    assert not list((own / "comparisons").glob("*.tmp"))


def test_two_features_side_by_side(own: Path, compared: FeatureStore):
    here, rows = client(own), (unit(own, synthetic.SAE), unit(own, OTHER))
    for a, b in [(7, 9), (3, 3), (synthetic.DEAD[0], 5)]:
        params = {"a": f"{synthetic.SAE}/{a}", "b": f"{OTHER}/{b}"}
        data = here.get("/compare/features.json", params=params).json()
        one, other = places(compared, synthetic.SAE, a), places(compared, OTHER, b)
        assert (data["both"], data["either"]) == (len(one & other), len(one | other))
        assert data["cosine"] == pytest.approx(rows[0][a] @ rows[1][b], abs=1e-5)
        assert (data["a"]["feature"], data["b"]["sae"]) == (a, OTHER)
        assert data["a"]["stats"]["n_active"] == len(one)
        page = here.get("/compare/features", params=params)
        assert page.status_code == 200
        assert f"Feature {a} and feature {b}" in page.text
    hostile = here.get("/compare/features", params={"a": f"{synthetic.SAE}/7", "b": "hostile.sae/0"})
    assert "indexed on different text" in hostile.text
    assert "<script>document.title" not in hostile.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/compare.json?a=nope&b=nope", 404),
        (f"/compare.json?a={synthetic.SAE}&b={OTHER}&status=lost", 422),
        ("/compare/features.json?a=x&b=y", 422),
        (f"/compare/features.json?a={synthetic.SAE}/300&b={OTHER}/0", 404),
        (f"/compare/features?a={synthetic.SAE}/-1&b={OTHER}/0", 422),
        (f"/compare/features?a={synthetic.SAE}/²&b={OTHER}/0", 422),
        ("/compare/features.json?a=nope/0&b=nope/0", 404),
    ],
)
def test_what_is_not_there_says_so(own: Path, path: str, status: int):
    assert client(own).get(path).status_code == status


def test_different_texts_cannot_be_compared(own: Path):
    answer = client(own).post("/compare", json={"a": synthetic.SAE, "b": "hostile.sae"})
    assert answer.status_code == 409
    assert "not indexed on one corpus" in answer.json()["cause"]
    page = client(own).get("/compare", params={"a": synthetic.SAE, "b": "hostile.sae"})
    assert "These two cannot be compared" in page.text


@pytest.mark.browser
def test_a_person_matches_two_saes_and_opens_a_pair(chromium: Browser, served, own: Path, compared: FeatureStore):
    """From the choice of SAEs over a real comparison in the background to two features side by side."""
    page = chromium.new_page()
    problems: list[str] = []
    page.on("console", lambda m: problems.append(m.text) if m.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    shutil.rmtree(own / "comparisons")
    page.goto(f"{served(own)}/compare")
    page.get_by_label("First SAE").select_option(synthetic.SAE)
    page.get_by_label("Second SAE").select_option(OTHER)
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("button", name="Match their features").click()
    expect(page.locator("#compared")).to_be_visible(timeout=60_000)
    page.reload()
    expect(page.locator("#cosines .main-svg").first).to_be_visible()
    counts = compared.kept_comparison(synthetic.SAE, OTHER).summary()
    page.locator(".counts tbody tr").nth(1).get_by_role("link", name=str(counts["b"]["appeared"]), exact=True).click()
    expect(page.locator("#compared h2").last).to_have_text(f"Appeared features of {OTHER}")
    feature = page.locator(".matched tbody a").first.inner_text()
    page.locator(".matched tbody a").first.click()
    expect(page.locator("h1")).to_contain_text(f"and feature {feature}")
    expect(page.locator("#activations-1 .main-svg").first).to_be_visible()
    expect(page.locator(".examples")).not_to_have_count(0)
    assert problems == []
    page.close()
