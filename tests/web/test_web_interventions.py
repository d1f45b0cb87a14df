"""Unlearning runs and saved interventions as data and pages: against the files, the model and counts by hand."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import intervention_files
import numpy as np
import pytest
import synthetic
import tiny
import torch
import yaml
from fastapi.testclient import TestClient
from hostile import SCRIPT
from intervention_files import FEATURES, a_run

import web
from saebench.config import CorpusConfig
from saebench.corpus.documents import read_documents
from saebench.interventions import AnyIntervention, Clamp, InterventionSet, read_interventions, write_interventions
from saebench.interventions.unlearning import Treatment, UnlearnConfig, UnlearningResult, write_result
from saebench.interventions.unlearning.treatments import Chosen, interventions
from saebench.lm import load_lm
from saebench.saes import SAE
from saebench.wording import spared
from store import Annotations
from web.figures.unlearning import cost_axis, dose_axis
from web.views.unlearning_pair import different_exams

FORM = {"sae": synthetic.SAE, "forget": "tkinter=tkinter/*,turtle.py", "retain": "xml=xml/*\nhttp=http/*, urllib/*"}
TREATED = [{"kind": "zero", "strengths": "1"}, {"kind": "clamp", "strengths": "4, 0.5 2"}]


@pytest.fixture
def own(workspace: Path, tmp_path: Path) -> Path:
    """A workspace that may be written to."""
    ignored = shutil.ignore_patterns("metrics.jsonl", "catalog.duckdb.lock")
    return Path(shutil.copytree(workspace, tmp_path / "own", symlinks=True, ignore=ignored))


@pytest.fixture
def here(own: Path) -> TestClient:
    return TestClient(web.create_app(own, load_lm), "http://127.0.0.1", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def refusing(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Over one workspace for all that is refused; whatever is queued never begins."""
    ignored = shutil.ignore_patterns("metrics.jsonl", "catalog.duckdb.lock")
    copy = shutil.copytree(workspace, tmp_path_factory.mktemp("refusing") / "own", ignore=ignored)
    client = TestClient(web.create_app(copy, load_lm), "http://127.0.0.1", raise_server_exceptions=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client.app.state.jobs, "_work", lambda: None)  # type: ignore[attr-defined]
        yield client


@pytest.fixture
def asleep(here: TestClient, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """Jobs are queued and never begin."""
    monkeypatch.setattr(here.app.state.jobs, "_work", lambda: None)  # type: ignore[attr-defined]
    return here


def wanted(**changes: Any) -> dict[str, Any]:
    return {**FORM, "treatments": TREATED, **changes}


def test_the_list_says_what_was_forgotten_and_kept(client: TestClient):
    data = client.get("/interventions.json").json()
    rows = {row["id"]: row for row in data["runs"]}
    assert rows["tkinter.frequency"] == {
        "id": "tkinter.frequency", "sae": synthetic.SAE, "forgets": ["tkinter"], "method": "frequency",
        "forget": 0.35, "controls": 1.0, "treatment": "clamp", "strength": 2.0,
        "picked": "clamp where active, strength 2", "problem": None,
    }  # fmt: skip
    saved = {row["id"]: row for row in data["saved"]}
    assert (saved["tkinter.frequency"]["n"], saved["tkinter.frequency"]["saes"]) == (3, [synthetic.SAE])
    assert saved["several"]["notes"] == SCRIPT
    page = client.get("/interventions").text
    assert SCRIPT not in page
    assert 'href="/interventions/tkinter.frequency"' in page
    assert "/interventions/compare" in page


def test_the_form_has_the_demos_settings(client: TestClient):
    part = client.get("/interventions/form").text
    config = UnlearnConfig()
    for topic, patterns in {**config.forget, **config.retain}.items():
        assert f"{topic}={','.join(patterns)}" in part
    kinds = re.findall(r'data-kind="(\w+)"', part)
    assert kinds == [*(one.kind for one in config.treatments), "scale"]
    checked = re.findall(r'data-kind="(\w+)">\s*<label><input type="checkbox" name="use" checked>', part)
    assert checked == [one.kind for one in config.treatments]


def test_damaged_files_are_named_and_the_rest_shown(own: Path, here: TestClient):
    (own / "unlearning" / "broken.json").write_text("{")
    (own / "unlearning" / "odd.json").write_text("[]")
    (own / "interventions" / "broken.json").write_text('{"id": "x"}')
    data = here.get("/interventions.json").json()
    runs = {row["id"]: row["problem"] for row in data["runs"]}
    assert "broken.json cannot be read" in runs["broken"]
    assert runs["odd"]
    assert runs["tkinter.frequency"] is None
    assert {row["id"]: row["problem"] for row in data["saved"]}["broken"]
    assert "cannot be read" in here.get("/interventions").text
    assert here.get("/interventions/broken").status_code == 503
    assert here.get("/interventions/sets/broken").status_code == 503
    assert here.delete("/interventions/broken").status_code == 204
    assert here.delete("/interventions/sets/broken").status_code == 204
    assert not (own / "unlearning" / "broken.json").exists()


def test_a_run_is_served_as_it_is_kept(client: TestClient):
    assert UnlearningResult.model_validate(client.get("/interventions/tkinter.frequency.json").json()) == a_run()
    answer = client.get("/interventions/tkinter.frequency", headers={"accept": "application/json"})
    assert answer.json()["id"] == "tkinter.frequency"
    for path in ("/interventions/none", "/interventions/none.json", "/interventions/sets/none"):
        assert client.get(path).status_code == 404


def test_a_runs_page_says_what_it_costs(client: TestClient):
    page = client.get("/interventions/tkinter.frequency").text
    assert "clamp where active, strength 2" in page
    assert "25% to 45%" in page  # .35 ± .1
    own_grid = "whatever was picked here: score 0.550, of 10 features clamped to −25 that fire on at most 1% of the"
    assert own_grid in page
    assert "SAEBench" not in re.search(r'<dl class="measures">.*?</dl>', page, re.S)[0]
    why = "It forgets most among those that keep 99% of the controls (with 80 controls that is all of them)."
    assert why in page
    assert page.count("this baseline’s best that keeps 99%") == 1  # of the random features; RMU keeps 90%
    assert "this treatment’s best" not in page  # of the clamp it is what was picked, and zero has one point
    assert page.count('<td class="muted small">keeps 99%</td>') == 1
    for feature in FEATURES:
        assert f"/saes/{synthetic.SAE}/features/{feature}" in page
        assert f'name="candidate" value="{feature}"' in page
    assert "−65 " in page or "−65.0" in page  # points that the topic lost
    assert (
        "from tkinter import" in re.search(r"<summary>(.*?)</summary>", page.split('<h3 class="turned">')[1], re.S)[1]
    )
    assert "messagebox" in page
    assert "tkinter.os" in page
    assert '<td class="number wide-only">2.00</td><td class="number wide-only">−1.50</td>' in page
    assert 'title="changed by 80% of its size"' in page
    assert "root = tkinter.Tk()" in page
    assert "root = os.path" in page


def test_any_point_can_be_kept_as_a_set(own: Path, here: TestClient):
    page = here.get("/interventions/tkinter.frequency").text
    assert page.count("Keep this") == 3  # two of the clamp, and zero; not what is saved already, and no baseline
    asked = {"treatment": "clamp", "strength": "8.0"}
    for _ in range(2):  # the second time it is there already
        answer = here.post("/interventions/tkinter.frequency/keep", json=asked)
        assert (answer.status_code, answer.json()) == (201, {"id": "tkinter.frequency.clamp.8"})
        assert answer.headers["location"] == "/interventions/sets/tkinter.frequency.clamp.8"
    kept = read_interventions(own, "tkinter.frequency.clamp.8")
    assert kept.interventions == tuple(
        interventions(Treatment(), Chosen(synthetic.SAE, tuple(FEATURES), (2.0,) * len(FEATURES), None), 8)
    )
    assert kept.saes == read_interventions(own, "tkinter.frequency").saes
    zero = here.post("/interventions/tkinter.frequency/keep", json={"treatment": "zero", "strength": 1})
    assert zero.json() == {"id": "tkinter.frequency.zero"}
    taken = here.post("/interventions/tkinter.frequency/keep", json={**asked, "id": "several"})
    assert taken.status_code == 409
    for wrong in ({"treatment": "clamp", "strength": 3}, {"treatment": "guarded", "strength": 2}):
        assert here.post("/interventions/tkinter.frequency/keep", json=wrong).status_code == 422
    assert here.post("/interventions/none/keep", json=asked).status_code == 404
    run = a_run()
    write_result(own, run.model_copy(update={"provenance": {**run.provenance, "sae_sha256": "other"}}))
    assert "other weights" in here.post("/interventions/tkinter.frequency/keep", json=asked).json()["cause"]


def test_a_guarded_point_can_be_kept_where_its_share_is_known(own: Path, here: TestClient):
    run = a_run("guarded")
    guarded = Treatment(kind="guarded", strengths=(2, 4))
    points = tuple(p.model_copy(update={"strength": d}) for p, d in zip(run.curves[0].points, (2.0, 4.0), strict=False))
    curves = (run.curves[0].model_copy(update={"name": "guarded", "points": points, "best": 0}),)
    changed = {"config": run.config.model_copy(update={"treatments": (guarded,)}), "curves": curves}
    write_result(own, run.model_copy(update=changed))
    asked = {"treatment": "guarded", "strength": 4}
    assert "Keep this" not in here.get("/interventions/guarded").text
    refused = here.post("/interventions/guarded/keep", json=asked)
    assert (refused.status_code, "run it again" in refused.json()["cause"]) == (422, True)
    write_result(own, run.model_copy(update={**changed, "often": 0.25}))
    assert "Keep this" in here.get("/interventions/guarded").text
    assert here.post("/interventions/guarded/keep", json=asked).status_code == 201
    chosen = Chosen(synthetic.SAE, tuple(FEATURES), (2.0,) * len(FEATURES), 0.25)
    assert read_interventions(own, "guarded.guarded.4").interventions == tuple(interventions(guarded, chosen, 4))


@pytest.mark.parametrize(
    ("n", "bound", "said"),
    [
        (17, 0.99, " (with 17 controls that is all of them)"),
        (99, 0.99, " (with 99 controls that is all of them)"),
        (100, 0.99, " (of 100 controls 1 may be lost)"),
        (250, 0.99, " (of 250 controls 2 may be lost)"),
        (17, 1.0, ""),
        (10, 0.0, " (of 10 controls 10 may be lost)"),
    ],
)
def test_what_a_bound_forgives_is_said(n: int, bound: float, said: str):
    assert spared(n, bound) == said


def test_two_runs_say_where_their_exams_differ():
    a, b = a_run(), a_run("other")
    assert different_exams(a, b) == []
    exam = {"forget": "0a", "controls": "0b", "orders": "given", "retained": [[8, "0c"]], "neutral": [[8, "0d"]]}

    def examined(**changes: Any) -> UnlearningResult:
        return a.model_copy(update={"provenance": {**a.provenance, "exam": {**exam, **changes}}})

    assert different_exams(examined(), examined()) == []
    assert different_exams(examined(), examined(controls="1b")) == ["controls"]
    changed = examined(forget="1a", neutral=[]).model_copy(update={"questions": (39, 80)})
    assert different_exams(examined(), changed) == ["questions to forget", "neutral text"]
    assert different_exams(a, a.model_copy(update={"questions": (40, 79)})) == ["controls"]


def figures_of(page: str) -> dict[str, dict[str, Any]]:
    """The figures of doses by name."""
    found = re.findall(r'id="dose-(\w+)"></div>\s*<script type="application/json">(.*?)</script>', page, re.S)
    return {name: json.loads(figure) for name, figure in found}


def test_doses_have_one_colour_per_treatment_and_the_strengths_as_ticks(client: TestClient):
    page = client.get("/interventions/tkinter.frequency").text
    figures = figures_of(page)
    assert list(figures) == ["forget", "controls", "ce_added", "trade"]
    doses = intervention_files.DOSES["clamp"]
    for name, at in (("forget", 0), ("controls", 1)):
        traces = {one["meta"]: one for one in figures[name]["data"] if one["name"] != "picked"}
        assert set(traces) == {"series-clamp", "series-zero", "series-random", "series-rmu"}
        assert traces["series-clamp"]["x"] == list(doses)
        assert traces["series-clamp"]["y"] == [right[at] for right in doses.values()]
        assert traces["series-random"]["line"]["dash"] == "dash"
        [ring] = [one for one in figures[name]["data"] if one["name"] == "picked"]
        assert (ring["x"], ring["y"], ring["meta"]) == ([2], [doses[2][at]], "series-clamp")
        axis = figures[name]["layout"]["xaxis"]
        assert (axis["type"], axis["tickvals"], axis["ticktext"]) == ("log", [0.5, 2, 8], ["0.5", "2", "8"])
        # what is no dose of the features is on an axis of its own
        assert {meta for meta, one in traces.items() if one["xaxis"] == "x2"} == {"series-zero", "series-rmu"}
        assert traces["series-rmu"]["x"] == ["RMU"]
        assert figures[name]["layout"]["xaxis2"]["domain"][0] > axis["domain"][1]
    trade = {one["meta"]: (one["x"], one["y"]) for one in figures["trade"]["data"] if one["name"] != "picked"}
    assert trade["series-clamp"] == ([1.0, 1.0, 0.6], [0.8, 0.35, 0.1])
    assert trade["series-rmu"] == ([0.9], [0.3])
    for key, named in (("clamp", "clamp where active"), ("random", "random features"), ("rmu", "RMU")):
        assert re.search(rf'data-series="{key}".*?>{named}|data-series="{key}".*?</span> {named}', page)
        assert re.search(rf'<td><span class="mark series-{key}"[^>]*>.</span> <span title="[^"]*">{named}</span>', page)


@pytest.mark.parametrize(
    ("doses", "kind", "ticks"),
    [
        ([1, 2, 4, 8, 2], "log", [1, 2, 4, 8]),
        ([0, 1, 4], "linear", [0, 1, 4]),
        ([1], "linear", [1]),
        ([], "linear", []),
        ([1, 1.5], "linear", [1, 1.5]),
        ([1, 1.01, 64], "log", [1, 64]),
    ],
)
def test_an_axis_of_doses(doses: list[float], kind: str, ticks: list[float]):
    axis = dose_axis(doses)
    assert (axis["type"], axis["tickvals"]) == (kind, ticks)


def test_an_axis_of_costs_has_a_place_for_none():
    axis, place = cost_axis([0.02, 3.0, 0.0, -0.001])
    assert axis["type"] == "log"
    assert axis["ticktext"] == ["≤ 0", "0.01", "0.1", "1", "10"]
    assert place(0.02) == 0.02
    assert place(0.0) == place(-0.001) == axis["tickvals"][0] < 0.01
    assert 10 ** axis["range"][0] < place(0.0) < 3.0 < 10 ** axis["range"][1]
    assert cost_axis([0.02, 3.0])[0]["ticktext"] == ["0.01", "0.1", "1", "10"]
    assert cost_axis([0.0])[1](0.0) == 0.0


def test_candidates_have_examples_of_the_text_to_forget(own: Path, here: TestClient):
    page = here.get("/interventions/tkinter.frequency").text
    assert "in the text to forget, stdlib-<wbr>train" in page
    assert "most in stdlib-heldout" in page
    rows = re.findall(r'<td class="example beside">(.*?)</td>', page, re.S)
    assert len(rows) == len(FEATURES)
    for row in rows:
        assert re.findall(r'title="([^"]*)"', row) == ["tkinter/dialog.py", "turtle.py"]
        assert re.search(r'class="t a15 peak" data-v="2.50"> tkinter<', row)
    assert "measured only where features are chosen by attribution" in page
    assert "loss added" not in page
    run = a_run("old")
    tried = [one.model_copy(update={"loss_added": 0.003, "changes": (1,), "excerpts": ()}) for one in run.candidates]
    write_result(own, run.model_copy(update={"candidates": tuple(tried)}))
    page = here.get("/interventions/old").text
    assert "measured only where" not in page
    assert '<td class="number wide-only">+0.00300</td>' in page
    assert "from before examples of the text to forget were kept" in page


def test_runs_of_before_questions_were_kept_say_what_they_know(own: Path, here: TestClient):
    path = own / "unlearning" / "tkinter.frequency.json"
    kept = json.loads(path.read_text())
    for flip in kept["side_effects"]["flips"]:
        del flip["asks"], flip["answer"], flip["says"]
    path.write_text(json.dumps(kept))
    page = here.get("/interventions/tkinter.frequency").text
    assert "tkinter.12" in page.split('<h3 class="turned">')[1]
    assert '<span class="down">wrong</span>' in page


def test_treatments_are_called_alike_everywhere(client: TestClient):
    from saebench import wording
    from saebench.interventions.unlearning.config import Baseline, Kind
    from web.figures.unlearning import MARKS
    from web.models import interventions as models

    assert tuple(wording.TREATMENTS) == models.KINDS == get_args(Kind) == get_args(models.TreatmentKind)
    assert tuple(wording.BASELINES) == models.BASELINES == get_args(Baseline) == get_args(models.BaselineName)
    assert set(MARKS) == {*wording.TREATMENTS, *wording.BASELINES, wording.SET}
    kinds = {get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(get_args(AnyIntervention)[0])}
    assert set(wording.KINDS) == kinds
    form = client.get("/interventions/form").text
    for named in (*wording.TREATMENTS.values(), *wording.BASELINES.values()):
        assert named.label in form
    chosen = Chosen("s", (1,), (2.0,), 0.1)
    for kind, named in wording.TREATMENTS.items():
        [made] = interventions(Treatment(kind=kind), chosen, 2)
        assert made.label == named.label
    sheet = (Path(web.__file__).parent / "static" / "css" / "colours.css").read_text()
    for name in MARKS:
        assert sheet.count(f"--series-{name}:") == 3  # light, dark, and dark by the system


def test_hostile_texts_stay_text(client: TestClient):
    for path in ("/interventions/hostile", "/interventions/compare?a=hostile&b=tkinter.frequency",
                 "/interventions/sets/several"):  # fmt: skip
        answer = client.get(path)
        assert answer.status_code == 200
        assert SCRIPT not in answer.text


def test_two_runs_side_by_side(own: Path, here: TestClient):
    data = here.get("/interventions/compare.json", params={"a": "tkinter.frequency", "b": "hostile"}).json()
    assert [row["feature"] for row in data["shared"]] == [3]
    assert [row["feature"] for row in data["only_a"]] == [5, 9]
    assert [row["feature"] for row in data["only_b"]] == [7]
    assert [one["forget"] for one in data["scores"]] == [0.35, 0.35]
    page = here.get("/interventions/compare", params={"a": "tkinter.frequency", "b": "hostile"}).text
    assert "Features only in the first" in page
    assert here.get("/interventions/compare.json", params={"a": "none", "b": "hostile"}).status_code == 404
    shutil.rmtree(own / "unlearning")
    assert "No run yet" in here.get("/interventions/compare").text


def test_documents_of_a_pattern_are_the_corpus_own(client: TestClient):
    names = [document.name for document in read_documents(CorpusConfig(name="stdlib-train"))]
    [found, other] = client.get("/interventions/documents.json", params={"topics": "xml=xml/*\nturtle"}).json()
    assert (found["topic"], found["n"], found["of"]) == (
        "xml", sum(name.startswith("xml/") for name in names), len(names)
    )  # fmt: skip
    assert found["n"] > 0
    assert all(name.startswith("xml/") for name in found["names"])
    assert other["patterns"] == ["turtle.py", "turtle/*"]
    part = client.get("/interventions/documents", params={"topics": "xml=xml/*"}).text
    assert f"xml: {found['n']} of {len(names)}" in part.replace(",", "")
    assert client.get("/interventions/documents.json", params={"topics": "=x"}).status_code == 422
    for corpus in ("/etc", "../..", "hub/name"):
        refused = client.get("/interventions/documents.json", params={"topics": "xml", "corpus": corpus})
        assert refused.status_code == 404
    said = client.get("/interventions/documents", params={"topics": f"a={SCRIPT}"})
    assert said.status_code == 200
    assert SCRIPT not in said.text


def test_what_is_asked_for_becomes_a_recipe_and_a_job(own: Path, asleep: TestClient):
    body = wanted(id="mine", baselines=["random"], per_topic=6, n=7, above=0.25)
    answer = asleep.post("/interventions", json=body)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["kind"], job["about"]) == ("unlearn", {"id": "mine", "sae": synthetic.SAE})
    path = own / "unlearning" / "recipes" / "mine.yaml"
    assert job["command"][:4] == ["saebench", "unlearn", "run", str(path)]
    assert job["command"][4:] == ["--sae", synthetic.SAE, "--id", "mine", "--workspace", str(own)]
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    config = UnlearnConfig.model_validate(yaml.safe_load(path.read_text())["unlearn"])
    assert config.forget == {"tkinter": ("tkinter/*", "turtle.py")}
    assert config.retain == {"xml": ("xml/*",), "http": ("http/*", "urllib/*")}
    assert [(one.kind, one.strengths) for one in config.treatments] == [("zero", (1,)), ("clamp", (0.5, 2, 4))]
    assert (config.choose.n, config.questions.per_topic, config.baselines) == (7, 6, ("random",))
    again = asleep.post("/interventions", json=body)
    assert again.status_code == 409
    assert "mine" in again.json()["cause"]
    restarted = TestClient(web.create_app(own), "http://127.0.0.1")
    assert restarted.get(f"/jobs/{job['id']}.json").json()["about"] == job["about"]


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"sae": "none"}, 404, "no finished SAE 'none'"),
        ({"corpus": "/etc"}, 404, "'/etc' is no corpus"),
        ({"forget": ""}, 422, "Topics to forget: no topic is given"),
        ({"forget": "tkinter="}, 422, "is not NAME or NAME=PATTERN"),
        ({"forget": "a=xml/*\na=http/*"}, 422, "topic 'a' is there twice"),
        ({"forget": "nothing=nowhere/*"}, 422, "matches no document"),
        ({"forget": "one=turtle.py"}, 422, "one document only"),
        ({"forget": "xml=xml/*", "retain": "xml=http/*"}, 422, "both to be forgotten and kept"),
        ({"forget": "dom=xml/dom/*"}, 422, "let their patterns not overlap"),
        (
            {"treatments": [{"kind": "clamp", "strengths": "a lot"}]},
            422,
            "Clamp where active: strengths 'a lot' are no numbers",
        ),
        ({"treatments": [{"kind": "clamp", "strengths": "1, 1"}]}, 422, "a strength is there twice"),
        ({"treatments": [{"kind": "clamp", "strengths": "-1"}]}, 422, "strengths are numbers from 0"),
        ({"treatments": [{"kind": "clamp", "strengths": "nan"}]}, 422, "strengths are numbers from 0"),
        ({"treatments": [{"kind": "clamp", "strengths": " "}]}, 422, "no strength is given"),
        ({"treatments": [TREATED[0], TREATED[0]]}, 422, "kind of treatment is there twice"),
        ({"treatments": []}, 422, "No treatment is given and no set of interventions"),
        ({"sets": ["none"]}, 404, "no set of interventions 'none'"),
        ({"method": "list"}, 422, "ethod list wants the name of a list"),
        ({"method": "list", "list_name": "none"}, 404, "no list 'none'"),
        ({"id": "../x"}, 422, "cannot be an id"),
        ({"id": "compare"}, 409, "'compare'"),
        ({"id": "tkinter.frequency"}, 409, "tkinter.frequency"),
        ({"n": 0}, 422, "body n"),
    ],
)
def test_what_cannot_be_unlearned_is_said_in_one_line(
    refusing: TestClient, change: dict[str, Any], status: int, said: str
):
    own = refusing.app.state.workspace.path  # type: ignore[attr-defined]
    answer = refusing.post("/interventions", json=wanted(**change))
    assert answer.status_code == status, answer.text
    assert said in answer.json()["cause"]
    assert "\n" not in answer.json()["cause"]
    assert not (own / "unlearning" / "recipes").exists()
    assert refusing.get("/jobs.json").json() == {"jobs": []}


def test_saved_sets_are_part_of_what_is_asked_for(own: Path, asleep: TestClient):
    """With the SAE's id in the place of the set's own name for it."""
    kept = read_interventions(own, "several")
    [name] = kept.saes
    named = json.loads(kept.model_dump_json().replace(f'"{name}":', '"own":').replace(f'"sae":"{name}"', '"sae":"own"'))
    write_interventions(own, InterventionSet.model_validate({**named, "id": "named"}))
    assert read_interventions(own, "named").interventions[0].sae == "own"
    answer = asleep.post("/interventions", json=wanted(id="of-sets", treatments=[], sets=["named"]))
    assert answer.status_code == 202, answer.text
    recipe = yaml.safe_load((own / "unlearning" / "recipes" / "of-sets.yaml").read_text())["unlearn"]
    assert UnlearnConfig.model_validate(recipe).sets == {"named": kept.interventions}


def test_only_the_page_itself_may_write(here: TestClient):
    foreign = {"origin": "http://evil.example"}
    assert here.post("/interventions", json=wanted(), headers=foreign).status_code == 403
    assert here.delete("/interventions/tkinter.frequency", headers=foreign).status_code == 403
    assert here.post("/interventions/sets", json={"text": "{}"}, headers=foreign).status_code == 403
    assert here.post("/interventions/sets", json={"text": "x" * 300_000}).status_code == 413


def test_again_with_features_that_somebody_chose(own: Path, asleep: TestClient):
    address = "/interventions/tkinter.frequency/again"
    assert asleep.post(address, json={"features": [4]}).status_code == 422
    assert asleep.post(address, json={"features": []}).status_code == 422
    job = asleep.post(address, json={"features": [9, 3, 9]}).json()
    assert job["about"]["id"] == "tkinter.list"
    listed = Annotations(own).listed("tkinter.frequency.chosen")
    assert [(one.sae, one.feature) for one in listed] == [(synthetic.SAE, 9), (synthetic.SAE, 3)]
    recipe = yaml.safe_load((own / "unlearning" / "recipes" / "tkinter.list.yaml").read_text())
    config = UnlearnConfig.model_validate(recipe["unlearn"])
    assert (config.choose.method, config.choose.list, config.choose.n) == ("list", "tkinter.frequency.chosen", 2)
    same = config.model_copy(update={"choose": a_run().config.choose})
    assert same == a_run().config
    taken = asleep.post(address, json={"features": [9], "list_name": "tkinter.frequency.chosen"})
    assert taken.status_code == 409
    assert asleep.post(address, json={"features": [3]}).json()["about"]["id"] == "tkinter.list-2"


def test_a_set_in_words(client: TestClient):
    data = client.get("/interventions/sets/several.json").json()
    assert [(one["kind"], one["does"], one["features"]) for one in data["interventions"]] == [
        ("add", "adds +1.50", [5]),
        ("zero", "sets to 0", [1, 2]),
    ]
    assert data["interventions"][1]["where"] == "in texts where any of 1, 2 fires on more than 25% of the tokens"
    assert data["problems"] == []
    assert client.get("/interventions/sets/tkinter.frequency.json").json()["run"] == "tkinter.frequency"


def test_a_set_is_renamed_and_described(own: Path, here: TestClient):
    before = read_interventions(own, "several")
    answer = here.patch("/interventions/sets/several", json={"id": "other", "notes": "what it is for"})
    assert (answer.status_code, answer.headers["location"]) == (200, "/interventions/sets/other")
    after = read_interventions(own, "other")
    assert after == before.model_copy(update={"id": "other", "notes": "what it is for"})
    assert not (own / "interventions" / "several.json").exists()
    assert here.patch("/interventions/sets/other", json={"id": "tkinter.frequency"}).status_code == 409
    assert here.patch("/interventions/sets/other", json={"id": "../x"}).status_code == 422
    assert here.patch("/interventions/sets/none", json={"notes": ""}).status_code == 404
    assert here.patch("/interventions/sets/other", json={"id": "other", "notes": ""}).status_code == 200
    assert here.delete("/interventions/sets/other").status_code == 204
    assert here.get("/interventions/sets/other").status_code == 404


def test_what_is_exported_can_be_imported(own: Path, here: TestClient):
    file = here.get("/interventions/sets/several/file.json")
    assert 'filename="several.json"' in file.headers["content-disposition"]
    assert InterventionSet.model_validate_json(file.content) == read_interventions(own, "several")
    taken = here.post("/interventions/sets", json={"text": file.text})
    assert taken.status_code == 409
    answer = here.post("/interventions/sets", json={"text": file.text, "id": "copy"})
    assert (answer.status_code, answer.headers["location"]) == (201, "/interventions/sets/copy")
    assert read_interventions(own, "copy") == read_interventions(own, "several").model_copy(update={"id": "copy"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda kept: "no JSON", "not JSON"),
        (lambda kept: "[" * 100_000, "not JSON"),
        (lambda kept: json.dumps({**kept, "interventions": []}), "interventions"),
        (lambda kept: json.dumps({**kept, "saes": {}}), "not among its saes"),
        (lambda kept: _elsewhere(kept, id="none"), "SAE none is gone"),
        (lambda kept: _elsewhere(kept, id="../../x"), "cannot be an id"),
        (lambda kept: _elsewhere(kept, sha256="0" * 64), "has changed"),
        (lambda kept: _elsewhere(kept, hook_point="blocks.9.hook_mlp_out"), "they want it at"),
        (lambda kept: json.dumps({**kept, "model": {"name": "x", "sha256": "0" * 64}}), "another model"),
    ],
)
def test_what_cannot_be_imported_is_refused_in_one_line(refusing: TestClient, change: Any, said: str):
    own = refusing.app.state.workspace.path  # type: ignore[attr-defined]
    kept = read_interventions(own, "several").model_dump(mode="json")
    answer = refusing.post("/interventions/sets", json={"text": change({**kept, "id": "new"})})
    assert answer.status_code == 422, answer.text
    assert said in answer.json()["cause"]
    assert not (own / "interventions" / "new.json").exists()


def _elsewhere(kept: dict[str, Any], **changes: str) -> str:
    return json.dumps({**kept, "saes": {name: {**used, **changes} for name, used in kept["saes"].items()}})


def test_what_the_steer_page_adds_is_saved(own: Path, here: TestClient):
    body = {"id": "steered", "features": "9:2,5:-0.5", "sae": synthetic.SAE}
    assert here.post("/interventions/sets/steering", json=body).status_code == 201
    steered = here.get("/steer.json", params={"text": "for item", "features": "9:2,5:-0.5", "tokens": 6}).json()
    kept = read_interventions(own, "steered")
    assert [(one.feature, one.activation) for one in kept.interventions] == [
        (one["feature"], one["activation"]) for one in steered["features"]
    ]
    by_name = here.get("/steer.json", params={"text": "for item", "interventions": "steered", "tokens": 6}).json()
    assert by_name["steered"]["generated"] == steered["steered"]["generated"]
    assert by_name["divergence"] == pytest.approx(steered["divergence"], abs=1e-6)
    assert by_name["interventions"] == "steered"
    assert here.post("/interventions/sets/steering", json=body).status_code == 409
    assert here.post("/interventions/sets/steering", json={**body, "id": "x", "features": ""}).status_code == 422


def test_the_prompt_page_reads_under_interventions(own: Path, here: TestClient, workspace: Path):
    """By hand: x' of the model with a constant added, encoded densely."""
    sae = SAE.load(own / "saes" / synthetic.SAE)
    lm = load_lm(str(workspace.parent / "tiny-lm"))
    text = "for item in items"
    write_interventions(
        own,
        intervention_files.a_set(own, "one", (intervention_files.Add(sae=synthetic.SAE, feature=9, activation=3.0),)),
    )
    plain = here.get("/prompt.json", params={"text": text, "sae": synthetic.SAE}).json()
    data = here.get("/prompt.json", params={"text": text, "sae": synthetic.SAE, "interventions": "one"}).json()
    assert plain["moved"] == []
    assert data["tokens"] == plain["tokens"]
    ids = lm.tokenizer(text, add_special_tokens=False)["input_ids"]
    tokens = torch.tensor([[lm.tokenizer.bos_token_id, *ids]])
    x = lm.activations(tokens, [tiny.HOOK_POINT])[tiny.HOOK_POINT][0, 1:].float()
    added = 3.0 * sae.W_dec[9].detach()
    truth = sae.encode(x + added).to_dense().detach().numpy()
    strongest = {f["feature"]: f["activation"] for f in data["features"]}
    assert strongest
    for feature, activation in strongest.items():
        assert activation == pytest.approx(truth[:, feature].max(), rel=1e-4)
    if len(ids) == len(data["moved"]):
        assert data["moved"] == pytest.approx((added.norm() / x.norm(dim=1)).tolist(), rel=1e-4)
    before = sae.encode(x).to_dense().detach().numpy()
    maxima = {f["feature"]: f["activation"] / f["share"] for f in data["features"] if f["share"]}
    for feature in data["features"]:
        assert feature["set"] == (feature["feature"] == 9)
        if feature["share"]:
            expected = before[:, feature["feature"]].max() / maxima[feature["feature"]]
            assert feature["without"] == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert data["set"] == ([9] if before[:, 9].max() > 0 else [])
    part = here.get("/prompt/result", params={"text": text, "sae": synthetic.SAE, "interventions": "one"}).text
    assert len(re.findall(r'class="t a\d+" title="changed by', part)) == len(data["tokens"])
    assert np.isfinite(data["moved"]).all()


def test_what_is_set_stands_apart_in_the_map_and_the_rest_stays_readable(own: Path, here: TestClient):
    """A feature set to a hundred times its maximum, and others that it drives beyond theirs."""
    text, sae = "for item in items:\n    print(item)\n", synthetic.SAE
    plain = here.get("/prompt.json", params={"text": text, "sae": sae}).json()["features"]
    strong = next(f for f in plain if f["share"])
    clamp = Clamp(sae=sae, feature=strong["feature"], activation=100 * strong["activation"] / strong["share"])
    write_interventions(own, intervention_files.a_set(own, "strong", (clamp,)))
    query = {"text": text, "sae": sae, "interventions": "strong"}
    data = here.get("/prompt.json", params=query).json()
    part = here.get("/prompt/result", params=query).text
    figure = json.loads(re.search(r'<script type="application/json">(.*?)</script>', part, re.S)[1])
    apart, rest = figure["data"]
    assert (apart["meta"], rest["meta"]) == ("accent", "active")
    names = figure["layout"]["yaxis"]["ticktext"]
    assert names[0] == f"{strong['feature']} set"
    assert (apart["y"], rest["y"]) == ([0], list(range(1, len(names))))
    assert [cell and round(cell**2, 3) for cell in apart["z"][0]] == [
        min(round(value / (strong["activation"] / strong["share"]), 3), 1) or None for value in strong["activations"]
    ]
    others = {str(f["feature"]): f for f in data["features"] if f["share"] and not f["set"]}
    top = max(1.0, *(others[name]["share"] for name in names[1:] if name in others))
    for name, row in zip(names[1:], rest["z"], strict=True):
        if name in others:
            shares = np.array(others[name]["activations"]) / others[name]["activation"] * others[name]["share"]
            assert [cell or 0 for cell in row] == pytest.approx(np.sqrt(shares / top).tolist(), abs=1e-3)
    assert "What is set</h2>" in part
    assert "clamp everywhere: sets to" in part
    assert ">set</span>" in part
    without = here.get("/prompt/result", params={"text": text, "sae": sae}).text
    assert "What is set" not in without


def test_interventions_that_cannot_be_applied_say_why(own: Path, here: TestClient):
    kept = read_interventions(own, "several")
    used = {name: one.model_copy(update={"sha256": "0" * 64}) for name, one in kept.saes.items()}
    write_interventions(own, kept.model_copy(update={"id": "stale", "saes": used}))
    for address in ("/prompt.json", "/steer.json"):
        answer = here.get(address, params={"text": "for item", "interventions": "stale", "sae": synthetic.SAE})
        assert answer.status_code == 422
        assert "has changed since they were saved" in answer.json()["cause"]
        missing = here.get(address, params={"text": "for item", "interventions": "none", "sae": synthetic.SAE})
        assert missing.status_code == 404
    assert "They cannot be applied now" in here.get("/interventions/sets/stale").text


def test_an_empty_workspace_says_what_to_do(tmp_path: Path):
    empty = TestClient(web.create_app(tmp_path), "http://127.0.0.1")
    page = empty.get("/interventions").text
    assert f"saebench demo --workspace {tmp_path}" in page
    assert "Unlearn a topic" not in page


def test_a_run_that_no_index_holds(own: Path, here: TestClient):
    write_result(own, a_run("gone").model_copy(update={"sae": "gone"}))
    candidates = tuple(one.model_copy(update={"sae": "gone"}) for one in a_run().candidates)
    write_result(own, a_run("gone").model_copy(update={"sae": "gone", "candidates": candidates}))
    page = here.get("/interventions/gone")
    assert page.status_code == 200
    assert "no index holds it" in page.text


def test_the_list_needs_no_torch(workspace: Path):
    import subprocess
    import sys

    code = (
        "import sys, json; from pathlib import Path; sys.modules['torch'] = None\n"
        "import web; from fastapi.testclient import TestClient\n"
        "client = TestClient(web.create_app(Path(sys.argv[1])), 'http://127.0.0.1')\n"
        "print(json.dumps([client.get(path).status_code for path in ['/interventions', '/interventions.json']]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(workspace)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [200] * 2
