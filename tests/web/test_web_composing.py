"""Interventions composed by hand, and two sets side by side: against values written by hand and the model itself."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
import torch
from fastapi.testclient import TestClient
from hostile import SCRIPT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intervention_files import a_set

import web
from saebench.interventions import (
    Add,
    Clamp,
    ClampActive,
    Fires,
    Hooked,
    Often,
    Project,
    Scale,
    Tokens,
    Zero,
    generate,
    intervened,
    read_interventions,
    write_interventions,
)
from saebench.lm import load_lm
from saebench.saes import SAE
from store import FeatureStore
from web.views.composing import typed

ONE = {"kind": "clamp_active", "sae": synthetic.SAE, "features": "9, 5", "amount": -4}
PAST = {"saved": "/interventions/sets/composed", "pages": "/interventions/compose"}


@pytest.fixture
def own(workspace: Path, tmp_path: Path) -> Path:
    """A workspace that may be written to."""
    ignored = shutil.ignore_patterns("metrics.jsonl", "catalog.duckdb.lock")
    return Path(shutil.copytree(workspace, tmp_path / "own", symlinks=True, ignore=ignored))


@pytest.fixture
def here(own: Path) -> TestClient:
    return TestClient(web.create_app(own, load_lm), "http://127.0.0.1", raise_server_exceptions=False)


def sent(here: TestClient, *interventions: dict[str, Any], **changes: Any) -> Any:
    body = {"id": "mine", "interventions": list(interventions), **changes}
    return here.post("/interventions/sets/composed", json=body)


def test_what_is_typed_is_kept_in_its_order(own: Path, here: TestClient, store: FeatureStore):
    rows = store.features(synthetic.SAE).filter("feature IN (5, 9)").rows()
    maxima = {row["feature"]: row["max_activation"] for row in rows}
    answer = sent(
        here,
        ONE,
        {**ONE, "above": 0.5, "maxima": True, "when": "often", "share": 0.25},
        {"kind": "zero", "sae": synthetic.SAE, "features": "3"},
        {"kind": "project", "sae": synthetic.SAE, "features": "3 4", "amount": 0, "maxima": True},
        {"kind": "add", "sae": synthetic.SAE, "features": "7", "amount": 1.5, "when": "fires", "when_features": "1,2",
         "when_above": 0.75, "start": 2, "stop": 9, "special": True},
        notes="in this order",
    )  # fmt: skip
    assert (answer.status_code, answer.headers["location"]) == (201, "/interventions/sets/mine")
    kept = read_interventions(own, "mine")
    sae, often = synthetic.SAE, Often(share=0.25, feature=(9, 5))
    assert kept.interventions == (
        ClampActive(sae=sae, feature=(9, 5), activation=-4.0),
        ClampActive(sae=sae, feature=9, activation=-4 * maxima[9], above=0.5 * maxima[9], when=often),
        ClampActive(sae=sae, feature=5, activation=-4 * maxima[5], above=0.5 * maxima[5], when=often),
        Zero(sae=sae, feature=3),
        Project(sae=sae, feature=(3, 4), factor=0.0),
        Add(
            sae=sae, feature=7, activation=1.5, tokens=Tokens(start=2, stop=9, special=True),
            when=Fires(feature=(1, 2), above=0.75),
        ),
    )  # fmt: skip
    assert kept.notes == "in this order"
    page = here.get("/interventions/sets/mine").text
    assert "guarded clamp: sets to" in page
    assert page.count("in texts where any of 9, 5 fires on more than 25% of the tokens") == 2
    assert "/interventions/compose?edit=mine" in page
    assert sent(here, ONE).status_code == 409
    asked = {"params": {"text": "for item", "interventions": "mine", "sae": sae}}
    assert here.get("/prompt.json", **asked).status_code == 200


def test_a_condition_on_own_features_means_the_same_in_maxima(own: Path, here: TestClient, workspace: Path):
    """Of two features that fire, one fires often: both are taken away, also where each has an intervention."""
    lm = load_lm(str(workspace.parent / "tiny-lm"))
    sae = SAE.load(own / "saes" / synthetic.SAE)
    tokens = lm.tokenizer("for item in items: print(item); items.append(item)", add_special_tokens=False)["input_ids"]
    ids = torch.tensor([[lm.tokenizer.bos_token_id, *tokens]])
    hook_point = "blocks.0.hook_resid_post"
    fires = (sae.encode(lm.activations(ids, [hook_point])[hook_point][0, 1:]).to_dense() > 0).float().mean(0)
    fires[list(synthetic.DEAD)] = 0
    often = int(fires.argmax())
    seldom = int(torch.where(fires < fires[often], fires, 0).argmax())
    share = float(fires[[often, seldom]].mean())
    assert fires[often] > share > fires[seldom] > 0
    row = {**ONE, "features": f"{often}, {seldom}", "amount": 0, "when": "often", "share": share}
    for name, each in {
        "together": [row],
        "apart": [{**row, "maxima": True}],
        "each.alone": [{**row, "features": str(often)}, {**row, "features": str(seldom)}],
    }.items():
        assert sent(here, *each, id=name).status_code == 201
    found = {}
    for name in ("together", "apart", "each.alone"):
        with intervened(lm, read_interventions(own, name).interventions, {synthetic.SAE: Hooked(sae, hook_point)}):
            found[name] = lm.run(ids)[0]
    torch.testing.assert_close(found["apart"], found["together"])
    assert not torch.allclose(found["each.alone"], found["together"])
    words = [here.get(f"/interventions/sets/{name}.json").json()["interventions"] for name in ("together", "apart")]
    [where] = {line["where"] for lines in words for line in lines}
    assert where.startswith(f"in texts where any of {often}, {seldom} fires on more than ")


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"features": ""}, 422, "Intervention 1, clamp where active: no feature is given"),
        ({"features": "12, x"}, 422, "'x' is no feature"),
        ({"features": "300"}, 422, "has no feature 300; it has 0 to 299"),
        ({"features": SCRIPT}, 422, "is no feature"),
        ({"amount": None}, 422, "no number is given"),
        ({"sae": "none"}, 404, "no finished SAE 'none'"),
        ({"sae": "../../x"}, 404, "no finished SAE"),
        ({"features": f"{synthetic.DEAD[0]}", "maxima": True}, 422, "never fires in the index"),
        ({"start": 9, "stop": 3}, 422, "no token is from 9 to before 3"),
        ({"when": "fires", "when_features": "900"}, 422, "condition: "),
        ({"when": "fires", "when_sae": synthetic.SAE}, 422, "none of its features"),
        ({"when": "often", "share": 2}, 422, "share"),
        ({"kind": "nothing"}, 422, "kind"),
    ],
)
def test_what_cannot_be_composed_is_said_in_one_line(
    own: Path, here: TestClient, change: dict[str, Any], status: int, said: str
):
    answer = sent(here, {**ONE, **change})
    assert answer.status_code == status, answer.text
    assert said in answer.json()["cause"]
    assert "\n" not in answer.json()["cause"]
    assert not (own / "interventions" / "mine.json").exists()


def test_a_name_that_can_be_none_and_nothing_at_all(here: TestClient):
    assert sent(here, ONE, id="../x").status_code == 422
    assert sent(here).status_code == 422
    foreign = here.post("/interventions/sets/composed", json={"id": "x"}, headers={"origin": "http://evil.example"})
    assert foreign.status_code == 403


amounts = st.floats(-1e6, 1e6, allow_nan=False)
features = st.lists(st.integers(0, 299), min_size=1, max_size=4, unique=True).map(tuple)
tokens = st.builds(Tokens, start=st.integers(0, 5), stop=st.none() | st.integers(6, 99), special=st.booleans())
conditions = (
    st.none()
    | st.builds(Fires, feature=st.none() | features, above=st.floats(0, 9))
    | st.builds(Often, feature=st.none() | features, above=st.floats(0, 9), share=st.floats(0, 1))
)
shared = {"sae": st.just(synthetic.SAE), "feature": features, "tokens": tokens, "when": conditions}
anything = st.one_of(
    st.builds(ClampActive, **shared, activation=amounts, above=st.floats(0, 9)),
    *(st.builds(kind, **shared, activation=amounts) for kind in (Add, Clamp)),
    *(st.builds(kind, **shared, factor=amounts) for kind in (Scale, Project)),
    st.builds(Zero, **shared),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(anything, min_size=1, max_size=4))
def test_a_set_that_is_opened_and_sent_back_is_the_same(workspace: Path, own: Path, here: TestClient, values: list):
    kept = a_set(own, "round", tuple(values), "as it was")
    write_interventions(own, kept)
    shown = here.get("/interventions/compose.json", params={"edit": "round"}).json()
    assert shown["rows"] == [typed(one, kept).model_dump() for one in values]
    body = {"id": "round", "notes": shown["notes"], "interventions": shown["rows"]}
    assert here.put("/interventions/sets/round", json=body).status_code == 200
    again = read_interventions(own, "round")
    assert [one.features for one in again.interventions] == [one.features for one in values]
    same = [one.model_copy(update={"feature": one.features}) for one in again.interventions]
    assert same == [_plain(one) for one in values]


def _plain(one: Any) -> Any:
    """The same with its features as a tuple, and the condition's, where it has some."""
    return one.model_copy(update={"feature": one.features})


def test_a_set_is_changed_and_moved(own: Path, here: TestClient):
    before = read_interventions(own, "several")
    answer = here.put("/interventions/sets/several", json={"id": "other", "notes": "new", "interventions": [ONE]})
    assert (answer.status_code, answer.headers["location"]) == (200, "/interventions/sets/other")
    assert not (own / "interventions" / "several.json").exists()
    assert read_interventions(own, "other").interventions == (
        ClampActive(sae=synthetic.SAE, feature=(9, 5), activation=-4.0),
    )
    assert read_interventions(own, "other").model == before.model
    body = {"id": "tkinter.frequency", "interventions": [ONE]}
    assert here.put("/interventions/sets/other", json=body).status_code == 409
    assert here.put("/interventions/sets/none", json={**body, "id": "none"}).status_code == 404


def test_a_new_one_begins_with_features_that_were_chosen(here: TestClient, tmp_path: Path):
    query = {"sae": synthetic.SAE, "features": "3,9"}
    [row] = here.get("/interventions/compose.json", params=query).json()["rows"]
    assert (row["kind"], row["features"], row["maxima"]) == ("clamp_active", "3,9", True)
    page = here.get("/interventions/compose", params={**query, "features": SCRIPT}).text
    assert SCRIPT not in page
    assert here.get("/interventions/compose", params={"edit": "none"}).status_code == 404
    empty = TestClient(web.create_app(tmp_path), "http://127.0.0.1").get("/interventions/compose").text
    assert f"saebench demo --workspace {tmp_path}" in empty


def test_two_sets_side_by_side(own: Path, here: TestClient):
    """`several` adds to 5 and zeroes 1 and 2; the run's set clamps 3, 5 and 9."""
    shared = (Zero(sae=synthetic.SAE, feature=(1, 2)), Add(sae=synthetic.SAE, feature=5, activation=1.5))
    write_interventions(own, a_set(own, "like", shared))
    address = "/interventions/compare/sets"
    data = here.get(f"{address}.json", params={"a": "several", "b": "tkinter.frequency"}).json()
    rows = {row["feature"]["feature"]: (row["a"], row["b"]) for row in data["different"]}
    assert set(rows) == {1, 2, 3, 5, 9}
    assert rows[5] == (["add: adds +1.50"], ["clamp where active: sets to −4.00 where it is above 0"])
    assert rows[3][0] == []
    assert data["same"] == []
    assert [side["n"] for side in data["sides"]] == [2, 3]
    data = here.get(f"{address}.json", params={"a": "several", "b": "like"}).json()
    assert [row["feature"]["feature"] for row in data["same"]] == [5]
    assert [row["feature"]["feature"] for row in data["different"]] == [1, 2]  # one of them only in some texts
    page = here.get(address, params={"a": "several", "b": "like"}).text
    assert "They do the same to 1 feature<" in page
    assert SCRIPT not in page
    assert here.get(f"{address}.json", params={"a": "several", "b": "none"}).status_code == 404
    shutil.rmtree(own / "interventions")
    assert "No interventions are saved yet" in here.get(address).text


def test_a_text_under_two_sets_is_what_the_model_writes_under_each(own: Path, here: TestClient, workspace: Path):
    lm = load_lm(str(workspace.parent / "tiny-lm"))
    hooked = Hooked(SAE.load(own / "saes" / synthetic.SAE), "blocks.0.hook_resid_post")
    sets = {"add": (Add(sae=synthetic.SAE, feature=9, activation=6.0),), "zero": (Zero(sae=synthetic.SAE, feature=9),)}
    for name, values in sets.items():
        write_interventions(own, a_set(own, name, values))
    query = {"a": "add", "b": "zero", "text": "for item in", "tokens": 6}
    data = here.get("/interventions/compare/sets/result.json", params=query).json()
    begin = [lm.tokenizer.bos_token_id, *lm.tokenizer("for item in", add_special_tokens=False)["input_ids"]]
    found = []
    for values in ((), *sets.values()):
        with intervened(lm, values, {synthetic.SAE: hooked}):
            found.append(generate(lm, torch.tensor(begin), 6))
    assert data["generated"] == [lm.tokenizer.decode(own.tokens) for own in found]
    logs = [own.logits.double().log_softmax(0) for own in found]
    truth = [float((logs[0].exp() * (logs[0] - other)).sum()) for other in logs[1:]]
    assert data["divergences"] == pytest.approx(truth, abs=1e-6)
    shares = np.array([log.exp().numpy() for log in logs])
    best = data["next"][0]
    token = int(shares.max(0).argmax())
    assert best["token"] == lm.tokenizer.decode([token])
    assert best["shares"] == pytest.approx(shares[:, token].tolist(), abs=1e-6)
    part = here.get("/interventions/compare/sets/result", params=query)
    assert part.status_code == 200
    assert part.text.count('class="context writing"') == 3
    assert here.get("/interventions/compare/sets/result", params={**query, "text": ""}).status_code == 422
    assert here.get("/interventions/compare/sets/result.json", params={**query, "a": "none"}).status_code == 404
    assert json.loads(json.dumps(data)) == data
