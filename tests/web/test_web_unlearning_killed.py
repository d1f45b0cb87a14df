"""Unlearning in the background of a real server that is killed: jobs end with it, and run again, in their order, from
where they were.
"""

import json
import signal
from pathlib import Path

import httpx
import small_unlearning
from real_server import processes, serve, wait_for

from saebench.interventions.unlearning import read_result, result_ids
from saebench.interventions.unlearning.result import work_folder
from store import Catalog

RUNS = ("first", "second", "third")


def asked(workspace: Path, run: str) -> dict[str, object]:
    """What the form sends."""
    return {
        "sae": small_unlearning.SAE_ID, "corpus": str(workspace.parent / "corpus"), "id": run,
        "forget": small_unlearning.FORGET, "retain": small_unlearning.RETAIN, "per_topic": 6, "n": 4,
        "retain_below": 1, "treatments": [{"kind": "clamp", "strengths": "2"}], "chosen_on": 2, "judged_on": 2,
        "samples": 0,
    }  # fmt: skip


def test_jobs_end_with_the_server_and_go_on_after_it(tmp_path: Path):
    workspace = small_unlearning.write(tmp_path)
    Catalog(workspace)
    server, address = serve(workspace)

    def states() -> dict[str, str]:
        jobs = httpx.get(f"{address}/jobs.json", timeout=60).json()["jobs"]
        return {job["id"].removeprefix("unlearn."): job["state"] for job in jobs}

    try:
        for run in RUNS:
            answer = httpx.post(f"{address}/interventions", json=asked(workspace, run), timeout=60)
            assert (answer.status_code, answer.headers["location"]) == (202, f"/jobs/unlearn.{run}_small.1")
        wait_for((work_folder(workspace, "first") / "questions.jsonl").exists)
        assert states() == {"first_small.1": "running", "second_small.1": "queued", "third_small.1": "queued"}
        server.kill()
        server.wait()
        wait_for(lambda: processes(workspace) == [], 10)
    finally:
        server.kill()
    assert result_ids(workspace) == []
    assert not (workspace / "interventions").exists()

    server, address = serve(workspace)
    try:
        assert set(states().values()) == {"interrupted"}
        for run in RUNS:
            again = httpx.post(f"{address}/jobs/unlearn.{run}_small.1/again", timeout=60)
            assert (again.status_code, again.headers["location"]) == (202, f"/jobs/unlearn.{run}_small.2")
        wait_for(lambda: states()["first_small.2"] == "running")
        assert [states()[f"{run}_small.2"] for run in RUNS[1:]] == ["queued", "queued"]
        httpx.post(f"{address}/jobs/unlearn.second_small.2/cancel", timeout=60)
        wait_for(lambda: states()["first_small.2"] not in {"queued", "running"}, 300)
        assert (states()["first_small.2"], states()["second_small.2"]) == ("done", "cancelled")

        wait_for(lambda: states()["third_small.2"] == "running")
        wait_for(lambda: len(processes(workspace)) == 2)  # the server and the job
        httpx.post(f"{address}/jobs/unlearn.third_small.2/cancel", timeout=60)
        wait_for(lambda: states()["third_small.2"] == "cancelled")
        assert processes(workspace) == [server.pid]
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
    assert result_ids(workspace) == ["first"]
    assert read_result(workspace, "first").config.questions.per_topic == 6
    assert not work_folder(workspace, "first").exists()
    told = (workspace / "jobs" / "unlearn.first_small.2" / "progress.jsonl").read_text().splitlines()
    assert "questions" not in {json.loads(row)["what"] for row in told}  # those of the killed job
