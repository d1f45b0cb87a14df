"""Saved interventions whose strengths overflow: one clear line, and the model that others use is as it was."""

import shutil
from pathlib import Path

import intervention_files
import pytest
import synthetic
from fastapi.testclient import TestClient

import web
from saebench.interventions import Add, Scale, write_interventions
from saebench.interventions.kinds import Intervention
from saebench.lm import load_lm


@pytest.fixture(scope="module")
def own(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(workspace, tmp_path_factory.mktemp("overflow") / "workspace"))


@pytest.fixture(scope="module")
def here(own: Path) -> TestClient:
    return TestClient(web.create_app(own, load_lm), "http://127.0.0.1", raise_server_exceptions=False)


@pytest.mark.parametrize(
    "one",
    [
        Add(sae=synthetic.SAE, feature=5, activation=1e38),
        Scale(sae=synthetic.SAE, feature=tuple(range(300)), factor=1e38),
    ],
    ids=["add", "scale"],
)
@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("/prompt", {"text": "for item in items", "sae": synthetic.SAE}),
        ("/steer", {"text": "for item in items", "sae": synthetic.SAE, "tokens": 4, "features": "9:1"}),
    ],
)
def test_what_overflows_is_one_line(own: Path, here: TestClient, one: Intervention, page: str, query: dict):
    write_interventions(own, intervention_files.a_set(own, "huge", (one,)))
    before = here.get(f"{page}.json", params=query)
    assert before.status_code == 200
    answer = here.get(f"{page}.json", params=query | {"interventions": "huge"})
    assert answer.status_code == 422
    cause = answer.json()["cause"]
    assert "activations at blocks.0.hook_resid_post overflow" in cause
    assert "smaller strengths" in cause
    assert "\n" not in cause
    assert here.get(f"{page}.json", params=query).json() == before.json()
