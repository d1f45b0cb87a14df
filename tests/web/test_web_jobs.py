"""Background work: real commands in real processes, cancelled, failing, and left behind by a killed server."""

import json
import os
import shutil
import signal
from pathlib import Path

import httpx
import numpy as np
import pytest
import synthetic
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, expect
from real_server import processes, serve, wait_for

import web
from saebench.errors import UserError
from saebench.job import PROGRESS, progress_file
from store import Map, find_map, write_map
from web.jobs import runner as runner_module
from web.jobs.kinds import KINDS, Kind
from web.jobs.runner import JobRunner
from web.models.jobs import Progress

ENDLESS = Kind("Something endless", ("serve", "--port", "0"))
FAILING = Kind("Something that fails", ("evaluate", "--sae", "{sae}"))


def state(jobs: JobRunner, job_id: str) -> str:
    found = jobs.find(job_id)
    assert found is not None
    return found.state


def test_one_at_a_time_failing_cancelled_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(KINDS, "endless", ENDLESS)
    monkeypatch.setitem(KINDS, "failing", FAILING)
    monkeypatch.setattr(runner_module, "MOST_WAITING", 2)
    jobs = JobRunner(tmp_path)
    failing = jobs.start("failing", sae="none")
    endless = jobs.start("endless", sae="x")
    assert (failing.id, endless.id) == ("failing.none.1", "endless.x.1")
    assert jobs.start("endless", sae="x").id == endless.id
    wait_for(lambda: state(jobs, failing.id) == "failed")
    error = jobs.find(failing.id).error
    assert error is not None
    assert error.startswith(f"workspace {tmp_path} has no finished SAE 'none'")
    wait_for(lambda: "http://127.0.0.1" in jobs.find(endless.id).log)
    waiting = [jobs.start("failing", sae=name).id for name in ("a", "b")]
    with pytest.raises(UserError, match="2 jobs wait already"):
        jobs.start("failing", sae="c")
    assert [state(jobs, name) for name in (endless.id, *waiting)] == ["running", "queued", "queued"]
    (process,) = processes(tmp_path)
    assert os.getpriority(os.PRIO_PROCESS, process) >= 10
    assert os.getpgid(process) == process

    other = JobRunner(tmp_path)
    assert state(other, endless.id) == "running"
    with pytest.raises(UserError, match="another dashboard runs the jobs"):
        other.start("failing", sae="d")

    for name in (*waiting, endless.id, endless.id, failing.id):
        jobs.cancel(name)
    wait_for(lambda: state(jobs, endless.id) == "cancelled")
    assert [state(jobs, name) for name in (*waiting, failing.id)] == ["cancelled", "cancelled", "failed"]
    assert processes(tmp_path) == []
    assert [job.id for job in jobs.all()] == [*reversed(waiting), endless.id, failing.id]
    assert jobs.start("endless", sae="x").id == "endless.x.2"
    jobs.cancel("endless.x.2")
    wait_for(lambda: state(jobs, "endless.x.2") == "cancelled")


def test_a_job_that_somebody_kills_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(KINDS, "endless", ENDLESS)
    jobs = JobRunner(tmp_path)
    killed = jobs.start("endless", sae="x")
    wait_for(lambda: processes(tmp_path))
    (process,) = processes(tmp_path)
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: state(jobs, killed.id) == "failed")
    assert jobs.find(killed.id).error == "it was killed by SIGKILL; if nobody did that, there was too little memory"


def test_a_killed_server_leaves_an_interrupted_job_that_runs_again(workspace: Path, tmp_path: Path):
    """Through a real server: a map is begun, the server killed, the job dies with it and is run again to its end."""
    copied = tmp_path / "copied"
    shutil.copytree(workspace, copied)
    server, address = serve(copied)
    try:
        assert httpx.post(f"{address}/saes/{synthetic.SAE}/map", timeout=30).status_code == 202
        job_id = f"map.{synthetic.SAE}.1"
        wait_for(lambda: len(processes(copied)) == 2)
        wait_for(lambda: httpx.get(f"{address}/jobs/{job_id}.json").json()["state"] == "running")
        server.kill()
        server.wait()
        wait_for(lambda: processes(copied) == [], 10)
    finally:
        server.kill()
    server, address = serve(copied)
    try:
        assert httpx.get(f"{address}/jobs/{job_id}.json", timeout=30).json()["state"] == "interrupted"
        again = httpx.post(f"{address}/jobs/{job_id}/again", timeout=30)
        assert again.headers["location"] == f"/jobs/map.{synthetic.SAE}.2"
        seen = []

        def ended() -> bool:
            seen.append(httpx.get(f"{address}{again.headers['location']}.json", timeout=30).json())
            return seen[-1]["state"] not in {"queued", "running"}

        wait_for(ended, 180)
        assert (seen[-1]["state"], seen[-1]["error"]) == ("done", None)
        assert seen[-1]["progress"]["done"] == seen[-1]["progress"]["total"]
        data = httpx.get(f"{address}/saes/{synthetic.SAE}/map.json", timeout=30).json()
        kept = find_map(copied, synthetic.SAE)
        assert kept is not None
        assert np.allclose(np.stack([data["points"]["x"], data["points"]["y"]], 1), kept.points, atol=1e-3)
        assert len(data["points"]["said"]) == synthetic.N_FEATURES
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


def test_progress_says_how_far_and_how_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert progress_file("idle", 3) is None
    monkeypatch.setenv(PROGRESS, str(tmp_path / "p.jsonl"))
    report = progress_file("count", 400)
    assert report is not None
    for done in range(401):
        report(done, "note")
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert (lines[0]["done"], lines[-1]["done"]) == (0, 400)
    assert len(lines) < 20
    half = Progress(what="count", done=100, total=400, elapsed=5.0)
    assert (half.share, half.left) == (0.25, 15.0)
    assert Progress(what="count", done=3, elapsed=1.0).share is None


@pytest.fixture(scope="module")
def own(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a map, and jobs in every state that needs nobody to run them."""
    copied = tmp_path_factory.mktemp("jobs") / "workspace"
    shutil.copytree(workspace, copied)
    points = np.random.default_rng(0).normal(size=(synthetic.N_FEATURES, 2)).astype(np.float32)
    write_map(copied, synthetic.SAE, Map(points, {}))
    for number, word in enumerate(("done", "failed", "cancelled", "running"), 1):
        folder = copied / "jobs" / f"map.{synthetic.SAE}.{number}"
        folder.mkdir(parents=True)
        times = {"created": f"2026-01-0{number}T00:00:00Z", "started": f"2026-01-0{number}T00:00:01Z"}
        job = {
            "id": folder.name,
            "kind": "map",
            "about": {"sae": synthetic.SAE},
            "title": "Map",
            "command": ["saebench"],
        }
        ended = {"ended": f"2026-01-0{number}T00:01:13Z", "error": "<b>why</b>" if word == "failed" else None}
        (folder / "job.json").write_text(json.dumps({**job, **times, "state": word, **ended}))
    return copied


def test_jobs_as_pages_and_data(own: Path):
    client = TestClient(web.create_app(own), base_url="http://127.0.0.1")
    data = client.get("/jobs.json").json()["jobs"]
    assert [job["state"] for job in data] == ["interrupted", "cancelled", "failed", "done"]
    page = client.get("/jobs").text
    assert "&lt;b&gt;why&lt;/b&gt;" in page
    assert "took 72 s" in page
    assert "hx-trigger" not in page
    for path in ("/jobs/none.x.1", "/jobs/none.x.1.json", "/jobs/...json"):
        assert client.get(path).status_code == 404
    assert client.post("/jobs/none.x.1/again").status_code == 404
    assert client.post(f"/saes/{'x' * 30}/map").status_code == 404
    assert client.get(f"/saes/{'x' * 30}/map.json").status_code == 404


def test_an_sae_without_weights_cannot_be_drawn(own: Path):
    client = TestClient(web.create_app(own), base_url="http://127.0.0.1")
    answer = client.post("/saes/hostile.sae/map")
    assert answer.status_code == 409
    assert "sae.safetensors" in answer.json()["cause"]
    assert "nothing to draw yet" in client.get("/saes/hostile.sae/map").text


@pytest.mark.browser
def test_a_point_of_the_map_opens_its_feature(chromium: Browser, served, own: Path):
    page = chromium.new_page()
    problems: list[str] = []
    page.on("console", lambda m: problems.append(m.text) if m.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{served(own)}/saes/{synthetic.SAE}/map")
    canvas = page.locator("canvas[data-drawn=yes]")
    expect(canvas).to_be_visible()
    found = find_map(own, synthetic.SAE)
    assert found is not None
    box = canvas.bounding_box()
    low, high = found.points.min(0), found.points.max(0)
    scale = ((np.array([box["width"], box["height"]]) - 24) / (high - low)).min()
    feature = int(found.points[:, 0].argmax())
    across, down = np.array([1, -1]) * (found.points[feature] - (low + high) / 2) * scale
    place = {"x": box["width"] / 2 + across, "y": box["height"] / 2 + down}
    canvas.hover(position=place)
    expect(page.locator(".status")).to_contain_text(f"{feature} · ")
    canvas.click(position=place)
    expect(page.locator("h1")).to_have_text(f"Feature {feature}")
    assert problems == []
    page.close()


@pytest.mark.browser
def test_the_page_of_jobs_follows_one_that_runs(
    chromium: Browser, served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(KINDS, "endless", ENDLESS)
    page = chromium.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    home = served(tmp_path)
    page.goto(f"{home}/jobs")
    expect(page.locator(".empty")).to_contain_text("No jobs yet")
    folder = tmp_path / "jobs" / "endless.x.1"
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(
        json.dumps(
            {"id": "endless.x.1", "kind": "endless", "about": {"sae": "x"}, "title": "Endless", "command": ["saebench"],
             "state": "cancelled", "created": "2026-01-01T00:00:00Z"}
        )
    )  # fmt: skip
    page.reload()
    page.get_by_role("button", name="Run again").click()
    expect(page.locator(".state")).to_have_text("running", timeout=20_000)
    page.get_by_role("link", name="Jobs", exact=True).last.click()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("tbody tr .state").first).to_have_text("cancelled", timeout=20_000)
    assert processes(tmp_path) == []
    assert problems == []
    page.close()
