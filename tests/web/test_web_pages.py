import html
import re
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import synthetic
from fastapi.testclient import TestClient
from hostile import SAE as HOSTILE
from hostile import SCRIPT
from tiny import TRAINING

import web
from store import FeatureStore
from web.models.examples import ExampleLists
from web.models.features import FeaturePage
from web.views.examples import Shown, collapsed


def test_home_lists_what_the_workspace_holds(client: TestClient):
    page = client.get("/")
    assert page.status_code == 200
    for text in (synthetic.SAE, TRAINING, "demo.stdlib-train", synthetic.CORPUS, "training"):
        assert text in page.text
    data = client.get("/home.json").json()
    assert {row["id"] for row in data["saes"]} == {synthetic.SAE, HOSTILE, TRAINING}
    assert [row["id"] for row in data["harvests"]] == ["demo.stdlib-train"]


def test_a_quantity_is_written_alike_wherever_it_stands(client: TestClient, store: FeatureStore):
    home = client.get("/home.json").json()
    headlines = {row["id"]: dict(row["headline"]) for row in home["saes"]}
    assert headlines[synthetic.SAE] == {"FVU": "0.0905", "L0": "8.0", "dead": "2.00%", "tokens": "4.08M"}
    assert headlines[TRAINING]["FVU"] == "0.1100"  # 0.09 + 1 / 50
    index = store.index(synthetic.SAE).meta
    l0, dead = f"{index['l0']:.1f}", f"{len(synthetic.DEAD) / 300:.2%}"
    [summary] = [row["summary"] for row in home["indexes"] if row["info"]["sae_id"] == synthetic.SAE]
    assert summary.endswith(f"{dead} dead · L0 {l0}")
    page = re.sub(r"<[^>]+>", " ", client.get(f"/saes/{synthetic.SAE}").text.replace("<wbr>", ""))
    assert re.search(r"FVU, training\s+0\.0905\s+dead, training\s+2\.00%\s+L0\s+" + l0, page)
    running = re.sub(r"<[^>]+>", " ", client.get("/runs").text)
    assert re.search(r"0\.1100\s+FVU\s+8\.0\s+L0\s+2\.00%\s+dead", running)


def test_empty_workspace_says_what_to_run(tmp_path):
    client = TestClient(web.create_app(tmp_path), "http://127.0.0.1")
    assert f"saebench demo --workspace {tmp_path}" in client.get("/").text
    assert client.get("/home.json").json()["saes"] == []
    assert list(tmp_path.iterdir()) == []


def test_sae_page_shows_curves_density_and_configuration(client: TestClient, sae: str, store: FeatureStore):
    page = client.get(sae).text
    for text in ("Density", "fraction of variance unexplained", "dead latents", "300 features", "topk k 8"):
        assert text in page
    data = client.get(f"{sae}.json").json()
    densities = [row["density"] for row in store.features(synthetic.SAE).rows()]
    assert data["dead"] == sum(d == 0 for d in densities) == len(synthetic.DEAD)
    edges, counts = data["density_histogram"]["edges"], data["density_histogram"]["counts"]
    assert counts == [sum(low <= d < high for d in densities) for low, high in pairwise(edges)]
    assert data["metrics"][-1]["step"] == 1990


def test_an_sae_in_training_has_curves_and_no_table(client: TestClient):
    page = client.get(f"/saes/{TRAINING}").text
    assert "No index yet" in page
    assert "fraction of variance unexplained" in page
    assert [row["step"] for row in client.get(f"/saes/{TRAINING}.json").json()["metrics"]] == [10, 20, 30, 40, 50]


@pytest.mark.parametrize(
    ("filter", "order"),
    [("", ""), ("density < 0.05 and max_activation > 5", "mean desc"), ("n_active = 0", "feature"), ("", "top_token")],
)
def test_table_filters_sorts_and_pages(client: TestClient, sae: str, store: FeatureStore, filter: str, order: str):
    relation = store.features(synthetic.SAE)
    relation = relation.filter(filter) if filter else relation
    truth = [row["feature"] for row in relation.order(f"{order or 'max_activation desc'}, feature").rows()]
    shown = []
    for start in range(0, 400, 40):
        asked = {"filter": filter, "order": order, "from": start, "size": 40}
        data = client.get(f"{sae}/features.json", params=asked).json()
        assert data["total"] == len(truth)
        if not data["rows"]:
            break
        shown += [row["feature"] for row in data["rows"]]
    assert shown == truth


def test_htmx_gets_only_the_table(client: TestClient, sae: str):
    headers = {"HX-Request": "true", "HX-Target": "features"}
    fragment = client.get(sae, params={"order": "density"}, headers=headers)
    assert "<table " in fragment.text
    assert "<html" not in fragment.text
    assert 'aria-sort="ascending"' in fragment.text
    assert fragment.headers["Vary"] == "HX-Request"


@pytest.mark.parametrize(
    ("filter", "word"),
    [("mean > 1 and densty < 1e-3", "densty"), ("density < 1e-3 ; drop table x", ";"), ("density < 'abc'", "abc")],
)
def test_a_wrong_filter_points_at_the_word(client: TestClient, sae: str, filter: str, word: str):
    page = client.get(sae, params={"filter": filter})
    assert page.status_code == 422
    marked = re.search("<mark>(.*?)</mark>", page.text)
    assert marked
    assert word in html.unescape(marked[1])
    problem = client.get(f"{sae}/features.json", params={"filter": filter})
    assert problem.status_code == 422
    assert problem.json()["cause"]


def test_a_filter_without_matches_says_so(client: TestClient, sae: str):
    assert "No feature matches" in client.get(sae, params={"filter": "density > 2"}).text


def test_feature_page_agrees_with_the_store(client: TestClient, sae: str, store: FeatureStore):
    truth = store.feature(synthetic.SAE, 5)
    data = client.get(f"{sae}/features/5.json").json()
    assert data["stats"]["max_activation"] == truth.stats.max_activation
    assert [n["feature"] for n in data["neighbours"]] == [n.feature for n in truth.neighbours()]
    assert data["histogram"]["counts"] == truth.histogram().counts.tolist()
    assert [t["token"] for t in data["promoted"]] == [logit.text for logit in truth.logits().promoted]
    top = truth.top(20)
    assert [e["value"] for e in data["top"]] == [e.value for e in top]
    assert ["".join(e["tokens"]) for e in data["top"]] == ["".join(e.text) for e in top]
    assert all(
        np.array_equal(np.float32(e["activations"]), t.activations) for e, t in zip(data["top"], top, strict=True)
    )
    FeaturePage.model_validate(data)
    page = client.get(f"{sae}/features/5").text
    assert page.count('class="context"') == len(top)
    assert html.escape(data["promoted"][0]["token"].strip()) in page


def text_of(example: dict) -> str:
    return "".join(example["tokens"])


def test_examples_of_every_kind_agree_with_the_store(client: TestClient, sae: str, store: FeatureStore):
    truth = store.feature(synthetic.SAE, 5)

    def listed(kind: str) -> list[list[dict]]:
        data = client.get(f"{sae}/features/5/examples/{kind}.json").json()
        ExampleLists.model_validate(data)
        fragment = client.get(f"{sae}/features/5/examples/{kind}").text
        assert fragment.count('class="context"') == sum(len(one["examples"]) for one in data["lists"])
        return [one["examples"] for one in data["lists"]]

    bands = truth.quantile_examples(5)
    assert [{text_of(e) for e in shown} for shown in listed("quantiles")] == [
        {"".join(e.text) for e in band.examples} for band in bands
    ]
    (random,) = listed("random")
    assert sum(e["alike"] for e in random) == len(truth.random())
    assert {text_of(e) for e in random} <= {"".join(e.text) for e in truth.random()}
    (negatives,) = listed("negatives")
    assert sum(e["alike"] for e in negatives) == len(truth.negatives())
    assert {e["neighbour"] for e in negatives} <= {n.neighbour for n in truth.negatives()}
    assert all(not any(e["activations"]) for e in negatives)


def test_alike_examples_are_shown_once(store: FeatureStore):
    example = store.feature(synthetic.SAE, 5).top(1)[0]
    other = store.feature(synthetic.SAE, 5).top(2)[1]
    far = replace(example, tokens=[example.tokens[0] + 1, *example.tokens[1:]])  # differs far from the peak
    assert example.peak > 8
    shown = collapsed([Shown(example), Shown(other), Shown(far), Shown(example)])
    assert [(one.example, one.alike) for one in shown] == [(example, 3), (other, 1)]


@pytest.mark.parametrize("measure", ["jaccard", "pmi", "pearson"])
def test_partners_agree_with_the_store(client: TestClient, sae: str, store: FeatureStore, measure: str):
    data = client.get(f"{sae}/features/5/coactive/{measure}.json").json()
    truth = store.feature(synthetic.SAE, 5).coactive(measure, 12)
    assert [(f["feature"], f["value"], f["together"]) for f in data["features"]] == truth
    page = client.get(f"{sae}/features/5/coactive/{measure}").text
    assert re.findall(r">(\d+)</a>", page) == [str(partner.feature) for partner in truth]


def test_whole_contexts_agree_with_the_codes(client: TestClient, sae: str, store: FeatureStore):
    data = client.get(f"{sae}/features/0/contexts/3.json").json()
    values = [row["value"] for row in store.codes(3, synthetic.SAE).filter("feature = 0").rows()]
    assert max(data["activations"]) == max(values)
    assert "".join(data["tokens"]) == "".join(store.context(3, synthetic.SAE).text)
    assert 'class="t a' in client.get(f"{sae}/features/0/contexts/3").text


def test_a_dead_feature_explains_itself(client: TestClient, sae: str):
    dead = synthetic.DEAD[0]
    page = client.get(f"{sae}/features/{dead}").text
    assert "never fires on stdlib-heldout" in page
    assert 'id="activations"' not in page
    assert "Steer with it" not in page  # it has no maximum to be measured by
    assert 'id="logits"' in page
    data = client.get(f"{sae}/features/{dead}.json").json()
    assert data["dead"]
    assert data["top"] == []
    assert data["histogram"] is None


def test_arrows_walk_the_list_one_came_from(client: TestClient, sae: str, store: FeatureStore):
    wanted = {"filter": "n_active > 50", "order": "mean desc"}
    numbers = [
        r["feature"] for r in store.features(synthetic.SAE).filter(wanted["filter"]).order("mean desc, feature").rows()
    ]
    page = client.get(f"{sae}/features/{numbers[3]}", params=wanted).text
    links = dict(re.findall(r'data-key="(previous|next)" href="[^"]*/features/(\d+)\?', page))
    assert links == {"previous": str(numbers[2]), "next": str(numbers[4])}
    assert f"4 of {len(numbers)} with n_active &gt; 50 by mean" in page


def test_without_a_list_arrows_go_by_number(client: TestClient, sae: str):
    assert 'data-key="previous" role="link" aria-disabled="true"' in client.get(f"{sae}/features/0").text
    assert 'data-key="next" role="link" aria-disabled="true"' in client.get(f"{sae}/features/299").text


def test_unchanged_pages_answer_304(client: TestClient, sae: str):
    for path in (f"{sae}/features/5", f"{sae}/features/5.json", f"{sae}/features/5/contexts/2"):
        first = client.get(path)
        again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert client.get(f"{sae}/features/6").headers["ETag"] != client.get(f"{sae}/features/5").headers["ETag"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/saes/unknown", 404),
        ("/saes/unknown/features/1", 404),
        (f"/saes/{TRAINING}/features/1", 404),
        (f"/saes/{synthetic.SAE}/features/300", 404),
        (f"/saes/{synthetic.SAE}/features/5?corpus=other", 404),
        (f"/saes/{synthetic.SAE}/features/5/contexts/99999", 404),
        (f"/saes/{synthetic.SAE}/features/five", 422),
        (f"/saes/{synthetic.SAE}/features/-1", 422),
        (f"/saes/{synthetic.SAE}?from=-1", 422),
        ("/saes/..%2F..%2Fetc%2Fpasswd", 404),
        ("/nowhere", 404),
    ],
)
def test_errors_are_pages_and_data(client: TestClient, path: str, status: int):
    page = client.get(path, headers={"Accept": "text/html"})
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")
    assert "Traceback" not in page.text
    bare, _, query = path.partition("?")
    data = client.get(f"{bare}.json" + (f"?{query}" if query else ""))
    if "from=" not in query:
        assert data.status_code == status
        assert set(data.json()) == {"status", "title", "cause", "remedy"}


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("/circuits/none", '<a href="/circuits">All circuits</a>'),
        ("/circuits/compare?a=none&b=none", '<a href="/circuits">All circuits</a>'),
        ("/circuits/none/at/all", '<a href="/circuits">All circuits</a>'),
        ("/interventions/none", '<a href="/interventions">All unlearning runs and saved interventions</a>'),
        ("/lists/none", '<a href="/lists">All lists</a>'),
        ("/jobs/none", '<a href="/jobs">All jobs</a>'),
        ("/saes/none", '<a href="/">All SAEs</a>'),
        ("/nowhere", '<a href="/">All SAEs</a>'),
        (f"/saes/{synthetic.SAE}/features/300", f'<a href="/saes/{synthetic.SAE}">All features of this SAE</a>'),
    ],
)
def test_what_is_not_there_leads_to_the_list_of_its_kind(client: TestClient, path: str, link: str):
    answer = client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert link in answer.text.partition("<main")[2]


def test_a_damaged_index_is_a_clear_page(tmp_path):
    (tmp_path / "indexes").mkdir()
    (tmp_path / "indexes" / "a.b.0123456789ab.duckdb").write_bytes(b"not a database")
    answer = TestClient(web.create_app(tmp_path), "http://127.0.0.1", raise_server_exceptions=False).get("/")
    assert answer.status_code == 503
    assert "is damaged or no index" in answer.text


def test_hostile_text_stays_text(client: TestClient):
    for path in ("/", f"/saes/{HOSTILE}", f"/saes/{HOSTILE}/features/0", f"/saes/{HOSTILE}/features/0/contexts/0"):
        page = client.get(path).text
        assert SCRIPT not in page
        assert "<img" not in page
        assert "\x00" not in page
        assert "\u202e" not in page
    assert "{{ 7 * 7 }}" in client.get(f"/saes/{HOSTILE}/features/0").text
    filtered = client.get(f"/saes/{HOSTILE}", params={"filter": SCRIPT}).text
    assert SCRIPT not in filtered


def test_every_answer_carries_the_policy(client: TestClient, sae: str):
    for path in ("/", sae, "/nowhere", "/home.json", "/openapi.json"):
        policy = client.get(path).headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy


def test_pages_ask_for_nothing_outside(client: TestClient, sae: str):
    for path in ("/", sae, f"{sae}/features/5"):
        page = client.get(path).text
        links = re.findall(r'(?:src|href|action)="([^"]*)"', page)
        assert links
        assert all(link.startswith(("/", "#")) and not link.startswith("//") for link in links)
        for link in {link for link in links if link.startswith("/static/")}:
            asset = client.get(link)
            assert asset.status_code == 200
            assert "immutable" in asset.headers["cache-control"]


def test_openapi_describes_the_json_of_every_page(client: TestClient):
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/home.json", "/saes/{sae_id}.json", "/saes/{sae_id}/features.json"} <= set(paths)
    assert "/saes/{sae_id}/features/{feature}.json" in paths
    assert "/saes/{sae_id}/features/{feature}/live.json" in paths


def test_a_new_index_appears_without_a_restart(tmp_path):
    client = TestClient(web.create_app(tmp_path), "http://127.0.0.1")
    assert client.get(f"/saes/{synthetic.SAE}").status_code == 404
    synthetic.build(tmp_path)
    assert client.get(f"/saes/{synthetic.SAE}/features/1").status_code == 200


def test_attention_features_show_their_heads_and_where_activations_come_from(client: TestClient, store: FeatureStore):
    data = client.get(f"/saes/{HOSTILE}/features/0.json").json()
    assert data["heads"] == [{"head": 0, "share": 0.75}, {"head": 1, "share": 0.25}]
    (attribution,) = store.feature(HOSTILE, 0).attributions()
    shown = data["top"][0]
    position = attribution.example.position
    assert len(shown["sources"]["tokens"]) == len(shown["tokens"])
    assert sum(shown["sources"]["tokens"]) == pytest.approx(float(attribution.sources.sum()))
    assert shown["sources"]["total"] == pytest.approx((position + 1) / 2)
    split = shown["tokens"].index("é")  # it stands in the second of its two tokens
    assert shown["tokens"][split - 1] == ""
    assert shown["sources"]["tokens"] == pytest.approx(attribution.sources.tolist())
    assert shown["sources"]["tokens"][0] == -1
    page = client.get(f"/saes/{HOSTILE}/features/0").text
    assert "head 0 +1.00, head 1 +1.00" in page
    assert re.search(r'class="t a\d+ negative" data-v="−1.00"', page)
    plain = client.get(f"/saes/{synthetic.SAE}/features/3.json").json()
    assert plain["heads"] == []
    assert {example["sources"] for example in plain["top"]} == {None}


def test_a_list_chosen_by_labels_changes_with_them(workspace: Path, tmp_path: Path):
    shutil.copytree(workspace / "indexes", tmp_path / "indexes")
    client, path = TestClient(web.create_app(tmp_path), "http://127.0.0.1"), f"/saes/{synthetic.SAE}/features/5"
    asked = {"filter": "LABEL IS NOT NULL", "order": "feature"}
    with FeatureStore.open(tmp_path) as opened:
        opened.label(synthetic.SAE, 5, "five")
        opened.label(synthetic.SAE, 9, "nine")
        before = client.get(path, params=asked)
        assert "1 of 2 with" in before.text
        same = client.get(path, params=asked, headers={"If-None-Match": before.headers["ETag"]})
        assert same.status_code == 304
        opened.label(synthetic.SAE, 7, "seven")
        after = client.get(path, params=asked, headers={"If-None-Match": before.headers["ETag"]})
    assert after.status_code == 200
    assert "1 of 3 with" in after.text
    assert f"/saes/{synthetic.SAE}/features/7?" in after.text
    assert f"/saes/{synthetic.SAE}/features/9?" not in after.text
