"""A feature's dream on its page: begun as a real job, followed, shown, and as data."""

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import synthetic
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, expect

import web
from store import Dream, DreamExample, DreamPrompt, find_dream, write_dream
from store.dreams import dream_path
from store.maps import weights_sha256
from web.formats import number
from web.jobs.kinds import KINDS, Kind
from web.jobs.runner import JobRunner

FEATURE = 5
ADDRESS = f"/saes/{synthetic.SAE}/features/{FEATURE}"
PIECES = [b"<b", b"> \xe2\x98", b"\x83", b"\n"]


@pytest.fixture
def own(workspace: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(workspace, tmp_path / "workspace"))


@pytest.fixture
def client(own: Path) -> Iterator[TestClient]:
    with TestClient(web.create_app(own), "http://127.0.0.1", raise_server_exceptions=False) as opened:
        yield opened


def prompt(activation: float, cross_entropy: float, survives: bool = True) -> DreamPrompt:
    pieces = [piece.hex() for piece in PIECES]
    values = [0.0, activation / 2, 0.0, activation]
    text = b"".join(PIECES).decode()
    return DreamPrompt(text, [1, 2, 3, 4], pieces, values, activation, cross_entropy, survives)


def keep(own: Path, *frontier: DreamPrompt) -> Dream:
    """Put a dream there."""
    example = DreamExample(**vars(prompt(4.0, 3.0)), document="a.py", context=1, position=9, value=7.5)
    frontier = frontier or (prompt(2.0, 2.5), prompt(6.0, 3.0, False), prompt(9.0, 8.0))
    provenance = {
        "sha256": weights_sha256(own, synthetic.SAE), "seed": 3, "settings": {"iterations": 20, "tokens": 12},
    }  # fmt: skip
    dream = Dream(synthetic.SAE, FEATURE, list(frontier), "corpus", [example], provenance)
    write_dream(own, dream)
    return dream


def test_a_dream_as_data_and_as_part_of_the_page(own: Path, client: TestClient):
    assert f'hx-get="{ADDRESS}/dream"' in client.get(ADDRESS).text
    empty = client.get(f"{ADDRESS}/dream.json").json()
    assert (empty["dream"], empty["job"]) == (None, None)
    assert "Dream of it" in client.get(f"{ADDRESS}/dream").text
    dream = keep(own)
    data = client.get(f"{ADDRESS}/dream.json").json()["dream"]
    assert [one["activation"] for one in data["frontier"]] == [2.0, 6.0, 9.0]
    assert (data["gain"], data["corpus"], data["examples"][0]["value"]) == (1.5, "corpus", 7.5)
    assert data["provenance"] == dream.provenance
    part = client.get(f"{ADDRESS}/dream").text
    assert "&lt;b" in part
    assert "<b>" not in part
    assert part.count("other tokens when typed") == 1
    assert "7.50 in its context" in part
    assert [float(one) for one in re.findall(r'<td class="number muted">([^<]+)<', part)] == [2.5, 3.0, 8.0, 3.0]
    assert "(3.00 nats per token), the strongest activates the feature 1.50 times as much" in part
    at = dream_path(own, synthetic.SAE, FEATURE).stat().st_mtime
    assert f"20 iterations, 12 tokens, seed 3, dreamt {datetime.fromtimestamp(at, UTC):%Y-%m-%d}" in part
    (own / "saes" / synthetic.SAE / "sae.safetensors").write_bytes(b"others")
    assert client.get(f"{ADDRESS}/dream.json").json()["dream"] is None


def test_that_no_text_is_as_likely_as_the_example_is_said(own: Path, client: TestClient):
    keep(own, prompt(9.0, 3.25))
    assert client.get(f"{ADDRESS}/dream.json").json()["dream"]["gain"] is None
    part = client.get(f"{ADDRESS}/dream").text
    assert "No text of the dream is as likely as the strongest example of corpus, cut" in part
    assert "(3.00 nats per token; the likeliest text has 3.25)" in part


def test_what_the_job_runs_and_what_is_refused(own: Path, client: TestClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(JobRunner, "_run", lambda self, job: self._end(job, "done"))
    job = client.post(f"{ADDRESS}/dream")
    assert job.status_code == 202
    command = job.json()["command"]
    assert command[:6] == ["saebench", "dream", "--sae", synthetic.SAE, "--feature", str(FEATURE)]
    assert job.json()["title"] == f"Dream of feature {FEATURE} of {synthetic.SAE}"
    page = client.get(f"/jobs/{job.json()['id']}").text
    assert re.search(rf'href="{ADDRESS}\?corpus=[^"]+">The feature<', page)
    for path, status in ((f"/saes/{synthetic.SAE}/features/99999", 404), ("/saes/nope/features/1", 404)):
        assert client.post(f"{path}/dream").status_code == status
        assert client.get(f"{path}/dream.json").status_code == status
    answer = client.post("/saes/hostile.sae/features/0/dream")
    assert answer.status_code == 409
    assert "not here" in answer.json()["cause"]
    assert "nothing to dream with" in client.get("/saes/hostile.sae/features/0/dream").text


@pytest.mark.browser
def test_begun_followed_and_shown(chromium: Browser, served, own: Path, monkeypatch: pytest.MonkeyPatch):
    small = ("--iterations", "4", "--set", "dream.children=8", "--tokens", "6", "--set", "dream.examples=0")
    whole = KINDS["dream"]
    monkeypatch.setitem(KINDS, "dream", Kind(whole.title, (*whole.arguments, *small)))
    page = chromium.new_page()
    problems: list[str] = []
    page.on("console", lambda m: problems.append(m.text) if m.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(served(own) + ADDRESS)
    page.get_by_role("button", name="Dream of it").click()
    expect(page.locator("#dream .dreams tbody tr").first).to_be_visible(timeout=240_000)
    found = find_dream(own, synthetic.SAE, FEATURE)
    assert found is not None
    rows = page.locator("#dream .dreams tbody").first.locator("tr")
    expect(rows).to_have_count(len(found.spread(10)))
    expect(rows.first.locator(".number").first).to_have_text(number(found.frontier[0].activation))
    expect(rows.last.locator(".number").first).to_have_text(number(found.best.activation))
    expect(page.locator("#dream")).to_contain_text("4 iterations, 6 tokens, seed 0, dreamt ")
    expect(page.locator("#frontier .main-svg").first).to_be_visible()
    drawn = page.evaluate("document.querySelector('#frontier').data[0].y")
    assert drawn == pytest.approx([one.activation for one in found.frontier])
    rows.last.locator(".t.peak").hover()
    expect(page.locator(".tip")).to_have_text(number(found.best.activation))
    assert problems == []
    page.close()
