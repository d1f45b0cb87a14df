"""Imported indexes hold what the files say, no more; damaged files are one line and leave nothing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from delphi_files import save_splits
from safetensors.numpy import load_file, save_file
from synthetic import DEAD, END, LENGTH, SAE, Synthetic

from store import FeatureStore, StoreError
from store.check import check_catalog, check_indexes
from store.garbage import find_garbage
from store.interchange import export_sae_dashboard, import_delphi, import_sae_dashboard

FEATURES = [0, 7, 11, 13, 40, 297]


@pytest.fixture(scope="module")
def exported(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_sae_dashboard(store, tmp_path_factory.mktemp("out") / "sd", FEATURES, per_file=4)


@pytest.fixture(scope="module")
def imported(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = tmp_path_factory.mktemp("imported")
    import_sae_dashboard(workspace, exported, "theirs")
    return workspace


@pytest.fixture(scope="module")
def from_delphi(data: Synthetic, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = tmp_path_factory.mktemp("delphi")
    folder = save_splits(workspace / "layers.8.mlp", data)
    import_delphi(workspace / "w", folder, data.vocabulary, [END])
    return workspace / "w"


def sound(workspace: Path) -> None:
    assert [problems for _, problems in check_indexes(workspace)] == [[]]
    assert check_catalog(workspace) == []
    assert find_garbage(workspace) == []


def test_sae_dashboard_round_trip(exported: Path, imported: Path):
    sound(imported)
    rows = {
        row["feature_index"]: row for path in exported.iterdir() for row in json.loads(path.read_text())["features"]
    }
    with FeatureStore.open(imported, threads=1) as theirs:
        assert theirs.index().n_features == max(FEATURES) + 1
        for number, row in rows.items():
            feature = theirs.feature(None, number)
            shown = {(tuple(a["tokens"]), tuple(a["values"])) for a in row["activations"]}
            spelled = {}
            for context, values in codes_by_context(theirs, number).items():
                found = theirs.context(context)
                length = found.special.index(True) if any(found.special) else len(found.tokens)
                text = tuple(theirs.index().vocabulary[token].decode() for token in found.tokens[:length])
                spelled[text, tuple(values[:length])] = context
            assert spelled.keys() == shown
            active = np.array([value for _, values in shown for value in values if value > 0])
            assert feature.stats.n_active == len(active)
            assert feature.stats.max_activation == active.max(initial=0)
            assert [logit.text for logit in feature.logits().promoted] == row["pos_str"]
            assert [logit.value for logit in feature.logits().suppressed] == row["neg_values"]
            assert sum(feature.logit_histogram().counts) == sum(row["logits_hist_data_bar_heights"])


def codes_by_context(store: FeatureStore, feature: int) -> dict[int, list[float]]:
    """Every activation of a feature, context by context."""
    out: dict[int, list[float]] = {}
    length = store.index().context_length
    rows = store.sql(f"SELECT context, position, value FROM activation WHERE feature = {feature}").rows()
    for row in rows:
        out.setdefault(row["context"], [0.0] * length)[row["position"]] = row["value"]
    return out


def test_what_is_unknown_is_not_invented(imported: Path):
    with FeatureStore.open(imported, threads=1) as theirs:
        made = theirs.index().meta["provenance"]
        assert made["knows"].startswith("only the examples")
        assert made["knows"] in repr(theirs.index())
        assert made["imported"]["features"] == len(FEATURES)
        for number in (7, 40):
            feature = theirs.feature(None, number)
            assert feature.coactive() == feature.negatives() == feature.neighbours() == []
            assert np.isnan(feature.stats.decoder_norm)
            assert feature._repr_html_()
        absent = theirs.feature(None, 41)
        assert absent.stats.n_active == 0
        assert absent.logits() == ([], [])
        assert absent.stats.promoted == []
        assert theirs.features().filter("dead").count() == max(FEATURES) + 1 - len(FEATURES) + 1  # and 13, which is


def test_a_second_import_is_the_same_file(exported: Path, imported: Path):
    before = {path: path.stat().st_mtime_ns for path in (imported / "indexes").glob("*.duckdb")}
    import_sae_dashboard(imported, exported, "theirs")
    assert {path: path.stat().st_mtime_ns for path in (imported / "indexes").glob("*.duckdb")} == before


def test_a_damaged_import_is_to_be_imported_again(imported: Path, tmp_path: Path):
    shutil.copytree(imported, tmp_path, dirs_exist_ok=True)
    (path,) = (tmp_path / "indexes").glob("*.duckdb")
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE feature SET mean = 7 WHERE feature = 7")
    ((_, problems),) = check_indexes(tmp_path)
    assert all(problem.endswith("; delete it and run `saebench store import`") for problem in problems)
    assert problems


def test_delphi_codes_are_exact(from_delphi: Path, store: FeatureStore):
    sound(from_delphi)
    with FeatureStore.open(from_delphi, threads=1) as theirs:
        assert theirs.index().meta["sae_id"] == "layers-8-mlp"
        for sql in (
            "FROM activation ORDER BY ALL",
            "SELECT context, tokens, spans, source FROM context ORDER BY context",
            """SELECT feature, n_active, density, mean, max_activation, q, top_token, top_token_id, dead, dense
               FROM feature ORDER BY feature""",
            "FROM histogram ORDER BY feature",
            "FROM coactive ORDER BY ALL",
        ):
            assert theirs.sql(sql).rows() == store.sql(sql, sae=SAE).rows()
        assert theirs.feature(None, 7).logit_histogram().counts.size == 0
        assert theirs.features().filter("dead").count() == len(DEAD)


def test_codes_at_special_tokens_are_left_out_and_counted(data: Synthetic, tmp_path: Path):
    folder = save_splits(tmp_path / "hook", data, 1, np.uint32)
    path = folder / "0_299.safetensors"
    arrays = load_file(path)
    row, position = np.argwhere(arrays["tokens"] == END)[0]
    arrays["locations"] = np.concatenate([arrays["locations"], np.array([[row, position, 5]], np.uint32)])
    arrays["activations"] = np.append(arrays["activations"], np.float16(900))
    save_file(arrays, path)
    import_delphi(tmp_path / "w", folder, data.vocabulary, [END], "mine")
    with FeatureStore.open(tmp_path / "w", threads=1) as theirs:
        assert theirs.index().meta["provenance"]["imported"]["codes_left_out_at_special_tokens"] == 1
        assert theirs.feature("mine", 5).stats.max_activation < 900


def small() -> dict[str, Any]:
    """A file with two features in SAEDashboard's layout."""

    def feature(number: int) -> dict[str, Any]:
        sequence = {"bin_min": -1, "bin_max": 2.0, "bin_contains": -1, "qualifying_token_index": 1}
        return {
            "feature_index": number,
            "pos_str": [" dog"], "pos_values": [0.5], "neg_str": ["é"], "neg_values": [-0.5],
            "logits_hist_data_bar_values": [-1, 0, 1], "logits_hist_data_bar_heights": [1, 5, 2],
            "activations": [{**sequence, "tokens": ["A", " dog", "\n"], "values": [0, 2.0, 0.25]}],
        }  # fmt: skip

    return {"model_id": "gpt2", "layer": 0, "sae_set": "res", "features": [feature(0), feature(3)]}


def test_token_ids_of_a_tokenizer(tmp_path: Path):
    """Texts as they read and as SAEDashboard spells them; the source is the bytes behind."""
    vocabulary = [b"A", b" dog", b"\n", "é".encode(), " ç".encode(), "Ã".encode()]
    batch = small()
    batch["features"][0]["activations"][0]["tokens"] = ["Ã©", " Ã§", "Ã"]
    (tmp_path / "batch-0.json").write_text(json.dumps(batch))
    import_sae_dashboard(tmp_path / "w", tmp_path / "batch-0.json", vocabulary=vocabulary)
    with FeatureStore.open(tmp_path / "w", threads=1) as theirs:
        assert theirs.index().id == "gpt2.0-res.imported"
        assert theirs.context(0).tokens == [3, 4, 5]
        assert theirs.context(0).text == ["é", " ç", "Ã"]
        assert theirs.context(1).text == ["A", " dog", "\n"]
        assert theirs.feature(None, 3).logits().promoted[0].token == 1


def change(*keys: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def apply(batch: dict[str, Any]) -> None:
        inner: Any = batch
        for key in keys[:-1]:
            inner = inner[key]
        if to is None:
            del inner[keys[-1]]
        else:
            inner[keys[-1]] = to

    return apply


EXAMPLE = ("features", 1, "activations", 0)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change("features", to=None), "the file has no 'features'"),
        (change("model_id", to=None), "the file has no 'model_id'"),
        (change("features", 1, "feature_index", to=None), "entry 1 of features has no 'feature_index'"),
        (change("features", 1, "feature_index", to=0), "feature 0 is in .* and again in"),
        (change("features", 1, "feature_index", to=-1), "outside 0 … "),
        (change("features", 1, "feature_index", to=1 << 40), "outside 0 … "),
        (change("features", 1, "feature_index", to="3"), "'feature_index' of another type"),
        (change("features", 1, "pos_values", to=[]), "feature 3 has 1 texts and 0 values of pos_str"),
        (change("features", 1, "pos_values", to=[float("nan")]), "feature 3 has nan in 'pos_values'"),
        (change("features", 1, "logits_hist_data_bar_heights", to=[1]), "3 middles and 1 heights"),
        (change("features", 1, to=[]), "entry 1 of features is no JSON object"),
        (change(*EXAMPLE, "tokens", to=None), "example 0 of feature 3 has no 'tokens'"),
        (change(*EXAMPLE, "values", to=[1.0]), "example 0 of feature 3 has 3 tokens and 1 values"),
        (change(*EXAMPLE, "values", 1, to=float("nan")), "example 0 of feature 3 has nan in 'values'"),
        (change(*EXAMPLE, "values", 1, to=float("inf")), "example 0 of feature 3 has inf in 'values'"),
        (change(*EXAMPLE, "values", 1, to="2"), "something else than numbers"),
        (change(*EXAMPLE, "values", 1, to=-1.0), "an activation below 0"),
        (change(*EXAMPLE, "values", 1, to=1e6), "above 65504"),
        (change(*EXAMPLE, "tokens", 1, to=7), "something else than texts"),
        (change(*EXAMPLE, "tokens", 1, to="\ud800"), "invalid Unicode"),
        (change("features", to=[]), "has no examples of any feature"),
    ],
)
def test_damaged_json(tmp_path: Path, damage: Callable, message: str):
    batch = small()
    damage(batch)
    (tmp_path / "batch-0.json").write_text(json.dumps(batch))
    with pytest.raises(StoreError, match=message) as raised:
        import_sae_dashboard(tmp_path / "w", tmp_path, "a", "b")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "w").exists()


def test_files_that_do_not_belong_together(tmp_path: Path):
    (tmp_path / "batch-0.json").write_text(json.dumps(small()))
    other = small()
    other["features"] = other["features"][:1]
    (tmp_path / "batch-1.json").write_text(json.dumps(other))
    with pytest.raises(StoreError, match=r"feature 0 is in .*batch-0.json and again in .*batch-1.json"):
        import_sae_dashboard(tmp_path / "w", tmp_path)
    other["features"][0]["feature_index"], other["layer"] = 9, 1
    (tmp_path / "batch-1.json").write_text(json.dumps(other))
    with pytest.raises(StoreError, match=r"batch-1.json is of layer 1, .*batch-0.json of 0"):
        import_sae_dashboard(tmp_path / "w", tmp_path)
    text = json.dumps(small())
    (tmp_path / "batch-1.json").write_text(text[: len(text) // 2])
    with pytest.raises(StoreError, match=r"batch-1.json is no JSON .*cut short") as raised:
        import_sae_dashboard(tmp_path / "w", tmp_path)
    assert "\n" not in str(raised.value)
    with pytest.raises(StoreError, match=r"has no batch-0\.json"):
        import_sae_dashboard(tmp_path / "w", tmp_path / "w")
    (tmp_path / "batch-1.json").unlink()
    with pytest.raises(StoreError, match="has the token ' dog', which is not in the tokenizer's vocabulary"):
        import_sae_dashboard(tmp_path / "w", tmp_path, vocabulary=[b"A", b"\n"])
    assert not (tmp_path / "w").exists()


def with_arrays(change: Callable[[dict[str, np.ndarray]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "100_199.safetensors"
        arrays = load_file(path)
        change(arrays)
        save_file(arrays, path)

    return apply


def put(name: str, at: Any, value: Any) -> Callable[[Path], None]:
    def apply(arrays: dict[str, np.ndarray]) -> None:
        arrays[name][at] = value

    return with_arrays(apply)


def shorten(folder: Path) -> None:
    path = folder / "100_199.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shorten, "100_199.safetensors cannot be read .*cut short"),
        (lambda folder: (folder / "0_99.safetensors").write_bytes(b"{}"), "0_99.safetensors cannot be read"),
        (lambda folder: (folder / "100_199.safetensors").unlink(), "no file of latents 100 to 199"),
        (lambda folder: (folder / "100_199.safetensors").rename(folder / "99_199.safetensors"), "another file has too"),
        (
            lambda folder: (folder / "200_299.safetensors").rename(folder / "200_250.safetensors"),
            "outside its 320 rows",
        ),
        (lambda folder: [path.unlink() for path in folder.iterdir()], "has no files like 0_4095.safetensors"),
        (with_arrays(lambda arrays: arrays.pop("tokens")), "has no tokens; .*save_tokens"),
        (with_arrays(lambda arrays: arrays.pop("locations")), "has no locations"),
        (with_arrays(lambda a: a.update(activations=a["activations"][1:])), "but activations float16"),
        (with_arrays(lambda a: a.update(locations=a["locations"][:, :2].copy())), r"should be whole \[n, 3\]"),
        (put("tokens", (0, 0), 1), "has other tokens than 0_99.safetensors"),
        (put("activations", 5, np.nan), "NaN or infinite"),
        (put("activations", 5, np.inf), "NaN or infinite"),
        (put("activations", 5, -1), "negative activations"),
        (put("locations", (5, 0), 9999), "outside its 320 rows"),
        (with_arrays(lambda a: a["locations"].__setitem__(1, a["locations"][0])), "same latent twice at one token"),
    ],
)
def test_damaged_latents(data: Synthetic, tmp_path: Path, damage: Callable, message: str):
    folder = save_splits(tmp_path / "hook", data)
    damage(folder)
    with pytest.raises(StoreError, match=message) as raised:
        import_delphi(tmp_path / "w", folder, data.vocabulary, [END])
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "w").exists()


def test_tokens_of_another_tokenizer(data: Synthetic, tmp_path: Path):
    folder = save_splits(tmp_path / "hook", data)
    with pytest.raises(StoreError, match=r"but the tokenizer has 0 to 99; name the tokenizer of the model"):
        import_delphi(tmp_path / "w", folder, data.vocabulary[:100], [END])


def test_a_refused_block_leaves_nothing_and_a_killed_import_goes_on(
    data: Synthetic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = save_splits(tmp_path / "hook", data)
    from store import writer

    add, calls = writer.IndexWriter.add, []

    def failing(error: BaseException) -> Callable:
        def one_then_fail(self: writer.IndexWriter, block: Any) -> None:
            calls.append(len(block.tokens))
            if len(calls) == 2:
                raise error
            add(self, block)

        return one_then_fail

    monkeypatch.setattr(writer.IndexWriter, "add", failing(StoreError("no")))
    with pytest.raises(StoreError, match="no"):
        import_delphi(tmp_path / "w", folder, data.vocabulary, [END])
    assert [path for path in (tmp_path / "w").rglob("*") if path.is_file() and path.suffix != ".lock"] == []
    calls.clear()
    monkeypatch.setattr(writer.IndexWriter, "add", failing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        import_delphi(tmp_path / "w", folder, data.vocabulary, [END])
    calls.clear()
    monkeypatch.setattr(writer.IndexWriter, "add", add)
    path = import_delphi(tmp_path / "w", folder, data.vocabulary, [END])
    whole = import_delphi(tmp_path / "other", folder, data.vocabulary, [END])
    assert path.name == whole.name
    assert data.n_contexts > 256 > LENGTH
