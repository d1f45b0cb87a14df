"""A circuit is looked for: what is checked first, and what the job then runs."""

from pathlib import Path

import pytest
import synthetic_circuit
from circuit_files import add_circuits
from fastapi.testclient import TestClient

import web
from saebench.circuits.files import write_circuit
from saebench.circuits.tasks.files import find_task
from web.jobs.runner import JobRunner


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A workspace of nothing but circuits, a set and a task."""
    add_circuits(tmp_path)
    return tmp_path


@pytest.fixture
def here(own: Path) -> TestClient:
    return TestClient(web.create_app(own), "http://127.0.0.1", raise_server_exceptions=False)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that are done as soon as they begin: what they run is not this dashboard's."""
    monkeypatch.setattr(JobRunner, "_run", lambda self, job: self._end(job, "done"))


def test_a_circuit_of_a_task_is_looked_for(here: TestClient, started: None):
    asked = {"task": "close-bracket", "saes": "demo.all-sites", "method": "attrib", "node_threshold": "0.05"}
    answer = here.post("/circuits", json=asked)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert job["title"] == "Circuit of close-bracket"
    assert job["command"][:-1] == [
        "saebench", "circuit", "find", "close-bracket", "--saes", "demo.all-sites", "--id", "close-bracket.attrib",
        "--method", "attrib", "--aggregation", "sum", "--node-threshold", "0.05", "--edge-threshold", "0.01",
        "--examples", "100", "--workspace",
    ]  # fmt: skip


def test_a_typed_pair_becomes_a_task(own: Path, here: TestClient, started: None):
    asked = {"origin": "pair", "name": "mine", "clean": "a\r\nb = [", "patch": "a\nb = (", "answer": "]", "wrong": ""}
    asked |= {"saes": "demo.all-sites", "id": ""}
    assert here.post("/circuits", json=asked).status_code == 202
    (pair,) = find_task(own, "mine").pairs
    assert (pair.clean, pair.patch, pair.answer, pair.wrong) == ("a\nb = [", "a\nb = (", "]", None)
    assert here.post("/circuits", json=asked).status_code == 202
    write_circuit(own, synthetic_circuit.build("of-mine").model_copy(update={"task": "mine"}))
    other = here.post("/circuits", json={**asked, "answer": "x"})
    assert (other.status_code, "of other prompts" in other.json()["cause"]) == (409, True)
    assert find_task(own, "mine").pairs == (pair,)


def test_a_pair_that_came_to_nothing_is_corrected_under_its_name(own: Path, here: TestClient, started: None):
    asked = {"origin": "pair", "name": "mine", "clean": "a = [", "patch": "a = ((", "answer": "]", "wrong": ""}
    asked |= {"saes": "demo.all-sites", "id": ""}
    assert here.post("/circuits", json=asked).status_code == 202
    assert here.post("/circuits", json={**asked, "patch": "a = ("}).status_code == 202
    assert find_task(own, "mine").pairs[0].patch == "a = ("


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"saes": "none"}, 404, "no SAE set 'none'"),
        ({"task": "none"}, 404, "no task 'none'"),
        ({"task": "../x"}, 404, "no task"),
        ({"id": "brackets"}, 409, "has a circuit 'brackets'"),
        ({"id": "compare"}, 409, "compare"),
        ({"id": "a/b"}, 422, "cannot be an id"),
        ({"method": "magic"}, 422, "method"),
        ({"node_threshold": "-1"}, 422, "node_threshold"),
        ({"examples": "0"}, 422, "examples"),
        ({"origin": "pair", "name": "x", "clean": "", "answer": "]"}, 422, "clean: is empty"),
        ({"origin": "pair", "name": "../x", "clean": "a", "answer": "]"}, 422, "cannot name a task"),
        ({"origin": "pair", "name": "close-bracket", "clean": "a", "answer": "]"}, 409, "close-bracket"),
    ],
)
def test_what_cannot_be_looked_for_is_said(
    own: Path, here: TestClient, started: None, change: dict, status: int, said: str
):
    before = sorted((own / "tasks").iterdir())
    answer = here.post("/circuits", json={"task": "close-bracket", "saes": "demo.all-sites", **change})
    assert answer.status_code == status
    assert said in answer.json()["cause"]
    assert sorted((own / "tasks").iterdir()) == before
    assert not (own / "jobs").exists()
