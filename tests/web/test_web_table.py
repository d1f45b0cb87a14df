"""The table of features as data and as HTML, against the store and against counting by hand."""

import contextlib
import html
import io
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import synthetic
from fastapi.testclient import TestClient
from hostile import SAE as HOSTILE
from hypothesis import given
from hypothesis import strategies as st

import web
from store import Annotations, Explanation, FeatureStore, StoreError
from web.download import file_name
from web.search import KINDS, asked, conditions
from web.views.columns import CHOICE, DEFAULT, chosen, toggled
from web.views.problem import explain
from web.views.table import WINDOW


@pytest.fixture(scope="module")
def features(store: FeatureStore) -> pd.DataFrame:
    return store.features(synthetic.SAE).order("feature").df()


@pytest.fixture(scope="module")
def told(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """The same index in a workspace where something is said of features."""
    folder = tmp_path_factory.mktemp("told")
    shutil.copytree(workspace / "indexes", folder / "indexes")
    notes = Annotations(folder)
    notes.set_label(synthetic.SAE, 9, "Opening brackets", "me")
    notes.add_explanations([
        Explanation(synthetic.SAE, synthetic.CORPUS, 9, "m", "1", "brackets of calls", 0.5),
        Explanation(synthetic.SAE, synthetic.CORPUS, 20, "m", "1", "closing brackets", 0.75),
        Explanation(synthetic.SAE, synthetic.CORPUS, 30, "m", "1", "<b>bold</b> words", 0.25),
    ])  # fmt: skip
    return TestClient(web.create_app(folder), "http://127.0.0.1")


def numbers(page: str) -> list[int]:
    """Features of the rows of a page, in their order."""
    return [int(number) for number in re.findall(r'<a class="row"[^>]*>(\d+)</a>', page)]


def listed(client: TestClient, sae: str, **asked: str | int) -> list[int]:
    """All features of a list, window by window."""
    out: list[int] = []
    while True:
        data = client.get(f"{sae}/features.json", params={**asked, "from": len(out), "size": 70}).json()
        if not data["rows"]:
            assert len(out) == data["total"]
            return out
        out += [row["feature"] for row in data["rows"]]


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("max > 5", lambda f: f["max_activation"] > 5),
        (
            "density between 1e-3 and 1e-2 and max > 5",
            lambda f: f["density"].between(1e-3, 1e-2) & (f["max_activation"] > 5),
        ),
        ("n >= 100 or docs > 0.5", lambda f: (f["n_active"] >= 100) | (f["documents_share"] > 0.5)),
        ("COSINE < 0.6 and not dead", lambda f: (f["encoder_decoder_cosine"] < 0.6) & ~f["dead"]),
        ("token = ' def'", lambda f: f["top_token"] == " def"),
        ("dense", lambda f: f["density"] > 0.1),
    ],
)  # fmt: skip
def test_filters_by_short_names(client: TestClient, sae: str, features: pd.DataFrame, typed: str, kept):  # type: ignore[no-untyped-def]
    truth = features[kept(features)].sort_values(["mean", "feature"], ascending=[False, True])["feature"].tolist()
    assert listed(client, sae, filter=typed, order="mean desc") == truth


def test_windows_of_the_page_join_to_the_list(client: TestClient, sae: str, features: pd.DataFrame):
    truth = features.sort_values(["n_active", "feature"], ascending=[False, True])["feature"].tolist()
    shown = []
    for start in range(0, len(truth), WINDOW):
        rows = client.get(f"{sae}/rows", params={"order": "n desc", "from": start}).text
        assert f'aria-rowindex="{start + 2}"' in rows
        shown += numbers(rows)
    assert shown == truth
    page = client.get(sae, params={"order": "n desc", "from": 100}).text
    assert numbers(page) == truth[2 * WINDOW : 3 * WINDOW]
    assert f'aria-rowcount="{len(truth) + 1}"' in page
    assert html.escape(f"{sae}?order=n+desc&from={3 * WINDOW}") in page
    assert html.escape(f"{sae}?order=n+desc&from={WINDOW}") in page


def test_rows_say_what_the_store_says(client: TestClient, sae: str, store: FeatureStore):
    names = ",".join(column.name for column in CHOICE)
    page = client.get(f"{sae}/rows", params={"filter": "feature = 7", "columns": names}).text
    row = store.described(synthetic.SAE).filter("feature = 7").rows()[0]
    assert f'href="{sae}/features/{row["nearest"]}?' in page
    assert f"{row['nearest_cosine']:.2f}" in page
    assert f"{row['n_active']:,}" in page
    data = client.get(f"{sae}/features.json", params={"filter": "feature = 7"}).json()["rows"][0]
    for name in ("density", "max_activation", "nearest", "top_token_share", "promoted", "decoder_norm"):
        assert data[name] == row[name], name


def test_rows_carry_their_list(client: TestClient, sae: str, store: FeatureStore):
    asked = {"filter": "n > 50", "search": 'fires:" self"', "order": "mean desc"}
    found = store.search(synthetic.SAE, token=" self", where="n_active > 50").order("mean desc")
    truth = [row["feature"] for row in found.rows()]
    page = client.get(sae, params=asked).text
    assert numbers(page) == truth[:WINDOW]
    links = re.findall(r'<a class="row" href="([^"]*)"', page)
    feature = client.get(html.unescape(links[2])).text
    walk = dict(re.findall(r'data-key="(previous|next)" href="[^"]*/features/(\d+)\?', feature))
    assert walk == {"previous": str(truth[1]), "next": str(truth[3])}
    assert f"3 of {len(truth)} found by {asked['search']} with n > 50 by mean" in html.unescape(feature)


@pytest.mark.parametrize(("kind", "argument"), list(KINDS.items()))
def test_search_by_token(client: TestClient, sae: str, store: FeatureStore, kind: str, argument: str):
    truth = [row["feature"] for row in store.search(synthetic.SAE, **{argument: " self"}).rows()]
    assert truth
    assert listed(client, sae, search=f'{kind}:" self"') == truth
    assert numbers(client.get(sae, params={"search": f'{kind}:" self"'}).text) == truth[:WINDOW]


def test_a_feature_found_by_token_fires_there(client: TestClient, sae: str, store: FeatureStore):
    index = store.index(synthetic.SAE)
    token = index.vocabulary.index(b" self")
    contexts = np.stack([store.context(i, synthetic.SAE).tokens for i in range(synthetic.N_CONTEXTS)])
    rows = store.sql("SELECT context, position, value FROM activation WHERE feature = 5", synthetic.SAE).df()
    there = contexts[rows["context"], rows["position"]] == token
    found = client.get(f"{sae}/features.json", params={"search": 'fires:" self"', "size": 1000}).json()["rows"]
    share = {row["feature"]: row["token_share"] for row in found}
    assert (5 in share) == there.any()
    assert share.get(5, 0) == pytest.approx(rows["value"][there].sum() / rows["value"].sum(), rel=1e-5)


def test_search_by_words(told: TestClient, sae: str):
    assert listed(told, sae, search="brackets") == [9, 20]
    assert listed(told, sae, search="BRACK closing") == [20]
    assert listed(told, sae, search="brackets", order="feature desc") == [20, 9]
    page = told.get(sae, params={"search": "brackets"}).text
    assert '<span class="said label">Opening brackets</span>' in page
    assert "closing brackets</span>" in page
    none = told.get(sae, params={"search": "docstring"}).text
    assert html.escape('fires:" docstring"') in none.replace("&#34;", "&quot;")
    assert listed(told, sae, filter="score > 0.4", order="score desc") == [20, 9]


def test_what_is_said_is_escaped(told: TestClient, sae: str):
    page = told.get(sae, params={"filter": "feature = 30"}).text
    assert "&lt;b&gt;bold&lt;/b&gt; words" in page
    assert "<b>bold" not in page


def test_a_new_label_is_found_at_once(told: TestClient, sae: str):
    assert listed(told, sae, search="fresh") == []
    told.app.state.workspace.store.label(synthetic.SAE, 40, "fresh")  # type: ignore[attr-defined]
    assert listed(told, sae, search="fresh") == [40]
    assert "fresh</span>" in told.get(f"{sae}/rows", params={"filter": "feature = 40"}).text


@pytest.mark.parametrize(
    ("asked", "at", "word"),
    [
        ({"filter": "maxx > 5"}, "filter", "maxx"),
        ({"filter": "max > 'much'"}, "filter", "much"),
        ({"order": "dnsity desc"}, "order", "dnsity"),
        ({"search": 'fires:" selff"'}, "search", " selff"),
        ({"search": "promotes:"}, "search", "promotes:"),
        ({"search": 'fires:"open', "filter": "max > 1"}, "search", 'fires:"open'),
    ],
)
def test_what_cannot_be_read_is_pointed_at(client: TestClient, sae: str, asked: dict[str, str], at: str, word: str):
    page = client.get(sae, params=asked)
    assert page.status_code == 422
    marked = re.search("<mark>(.*?)</mark>", page.text)
    assert marked
    assert html.unescape(marked[1]) == word
    problem = client.get(f"{sae}/features.json", params=asked)
    assert problem.status_code == 422
    assert problem.json()["title"] == f"The {at} cannot be read"
    assert client.get(f"{sae}/rows", params=asked).status_code == 422
    assert client.get(f"{sae}/features.csv", params=asked).status_code == 422


def test_a_problem_with_a_full_name_is_found_under_the_short_one():
    found = explain("max > 'a'", "filter \"max_activation > 'a'\": cannot compare 'max_activation' here")
    assert (found.before, found.word, found.after) == ("", "max", " > 'a'")


def test_lists_say_how_many_they_hold(client: TestClient, sae: str, features: pd.DataFrame):
    page = client.get(sae).text
    for name in ("dead", "dense", "duplicate", "position_locked"):
        count = int(features[name].sum())
        said = re.search(rf">{name.replace('_', '-')}&nbsp;<span>(\d+)</span>", page)
        assert (int(said[1]) if said else 0) == count, name
    assert numbers(client.get(sae, params={"filter": "dead"}).text) == list(synthetic.DEAD)


def test_columns_are_chosen_by_the_address(client: TestClient, sae: str):
    page = client.get(sae, params={"columns": "norm,max"}).text
    assert re.findall(r'scope="col"[^>]*><a [^>]*title="[^"]*">([^<↓↑]*)', page) == ["feature", "max ", "norm"]
    assert client.get(sae, params={"columns": "nonsense"}).status_code == 422
    default = chosen("", ())
    assert [c.name for c in default] == list(DEFAULT)
    for column in CHOICE:
        once = toggled(default, column)
        assert toggled(chosen(once, ()), column) == ""


@pytest.mark.parametrize(("filter", "search"), [("", ""), ("max > 5", ""), ("max > 3", 'fires:" self"')])
def test_downloads_are_the_list(client: TestClient, sae: str, store: FeatureStore, filter: str, search: str):
    asked = {"filter": filter, "search": search, "order": "mean desc"}
    truth = listed(client, sae, **asked)
    answer = client.get(f"{sae}/features.parquet", params=asked)
    table = pq.read_table(io.BytesIO(answer.content))
    assert table["feature"].to_pylist() == truth
    assert {"label", "explanation", "density", "promoted"} <= set(table.column_names)
    plain = store.described(synthetic.SAE).select("feature", "mean", "promoted").df().set_index("feature")
    assert table["mean"].to_pylist() == plain.loc[truth, "mean"].tolist()
    assert table["promoted"].to_pylist() == [list(tokens) for tokens in plain.loc[truth, "promoted"]]
    frame = pd.read_csv(io.BytesIO(client.get(f"{sae}/features.csv", params=asked).content))
    assert frame["feature"].tolist() == truth
    assert frame["n_active"].tolist() == table["n_active"].to_pylist()
    said = answer.headers["content-disposition"]
    assert said.startswith(f"attachment; filename*=UTF-8''{synthetic.SAE}.{synthetic.CORPUS}")
    assert ("max-gt" in said) == bool(filter)
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_downloads_leave_nothing_behind(client: TestClient, sae: str):
    client.get(f"{sae}/features.csv")
    with client.stream("GET", f"{sae}/features.parquet") as answer:
        next(answer.iter_raw())
    assert not list(Path(tempfile.gettempdir()).glob("saebench-download-*"))


@pytest.mark.parametrize(("plot", "column"), [("density", "density"), ("cosines", "encoder_decoder_cosine")])
def test_a_click_on_a_bar_finds_what_the_bar_counts(
    client: TestClient, sae: str, features: pd.DataFrame, plot: str, column: str
):
    drawn = pd.read_csv(io.BytesIO(client.get(f"{sae}/plots/{plot}.csv").content))
    assert drawn["features"].sum() == (features["density"] > 0).sum() if plot == "density" else len(features)
    for _, (low, high, count) in drawn.iterrows():
        asked = f"{column} between {low:.15g} and {high:.15g}"
        on_edge = int((features[column].astype(float) == high).sum())
        assert 0 <= client.get(f"{sae}/features.json", params={"filter": asked}).json()["total"] - count <= on_edge


def test_the_heat_map_counts_every_living_feature(client: TestClient, sae: str, features: pd.DataFrame):
    drawn = pd.read_csv(io.BytesIO(client.get(f"{sae}/plots/strength.csv").content))
    alive = features[features["density"] > 0]
    assert drawn["features"].sum() == len(alive)
    cell = drawn.iloc[drawn["features"].argmax()]
    inside = alive["density"].between(cell["density_from"], cell["density_to"])
    inside &= alive["max_activation"].between(cell["max_activation_from"], cell["max_activation_to"])
    assert inside.sum() >= cell["features"]
    grid = client.get(f"{sae}.json").json()["density_and_max"]
    assert np.sum(grid["counts"]) == len(alive)


def test_training_curves_as_numbers(client: TestClient, sae: str):
    frame = pd.read_csv(io.BytesIO(client.get(f"{sae}/plots/training.csv").content))
    assert frame["step"].tolist() == list(range(10, 2000, 10))
    assert client.get("/saes/unknown/plots/training.csv").status_code == 404
    assert client.get(f"/saes/{HOSTILE}/plots/training.csv").status_code == 200


@given(st.sampled_from(["fires", "promotes", "suppresses"]), st.text(min_size=1, max_size=8))
def test_any_token_can_be_asked_for(kind: str, token: str):
    (found,) = conditions(asked(kind, token)).values()
    assert found == [token]


@given(st.text(max_size=30))
def test_any_search_is_read_or_explained(search: str):
    with contextlib.suppress(StoreError):
        assert set(conditions(search)) <= {"text", *KINDS.values()}


def test_search_terms():
    assert conditions('doc strings fires:" a" fires:b promotes:"\\n"') == {
        "text": "doc strings",
        "token": [" a", "b"],
        "promoted": ["\n"],
    }


@pytest.mark.parametrize(
    ("text", "name"),
    [("a.b-c.max > 5", "a.b-c.max-gt-5"), ("../../etc/passwd", "etc-passwd"), ('x\r\n"y"', "x-y"), ("日本", "日本")],
)
def test_names_of_files(text: str, name: str):
    assert file_name(text) == name
