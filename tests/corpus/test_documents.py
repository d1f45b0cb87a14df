"""Where documents come from, and what is said when they do not."""

import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from saebench.config import CorpusConfig
from saebench.corpus import open_corpus
from saebench.corpus.documents import read_documents
from saebench.corpus.stdlib import split_of, stdlib_files
from saebench.errors import UserError


def test_the_splits_share_no_module_and_cover_the_library():
    modules = {module for module, _ in stdlib_files()}
    heldout = {module for module in modules if split_of(module) == "heldout"}
    assert {"asyncio", "email", "subprocess"} <= heldout
    assert 0.05 < len(heldout) / len(modules) < 0.2
    names = {
        split: {d.name.split("/")[0].removesuffix(".py") for d in read_documents(CorpusConfig(name=f"stdlib-{split}"))}
        for split in ("train", "heldout")
    }
    assert names["heldout"] == heldout
    assert names["train"] | names["heldout"] == modules
    assert not any("test" in path.parts for _, path in stdlib_files())


def test_local_files_of_every_kind(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "rows.jsonl").write_text('{"text": "two"}\n\n{"text": "three"}\n')
    pq.write_table(pa.table({"text": ["four", "five"], "other": [1, 2]}), tmp_path / "rows.parquet")
    found = {d.name: d.text for d in read_documents(CorpusConfig(name=str(tmp_path)))}
    assert found == {
        "a.txt": "one", "rows.jsonl#0": "two", "rows.jsonl#1": "three", "rows.parquet#0": "four",
        "rows.parquet#1": "five",
    }  # fmt: skip


def test_hub_datasets_stream(tmp_path):
    rows = datasets.Dataset.from_dict({"body": ["alpha", "beta"]})
    (tmp_path / "set").mkdir()
    rows.to_parquet(tmp_path / "set" / "train.parquet")
    # The same call that opens a hub name opens a folder in the hub's layout.
    from saebench.corpus.documents import hub_documents

    config = CorpusConfig(name=str(tmp_path / "set"), text_field="body")
    assert [document.text for document in hub_documents(config)] == ["alpha", "beta"]
    with pytest.raises(UserError, match=r"no column 'text'.*body"):
        list(hub_documents(CorpusConfig(name=str(tmp_path / "set"))))


@pytest.mark.parametrize(
    ("name", "says"),
    [("stdlib-tests", "stdlib-train and stdlib-heldout"), ("./nowhere", "does not exist"), ("x.jsonl", "not exist")],
)
def test_unknown_corpora(name, says):
    with pytest.raises(UserError, match=says):
        list(read_documents(CorpusConfig(name=name)))


def test_damaged_tables(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n{"text": \n')
    with pytest.raises(UserError, match="line 2 is not JSON"):
        list(read_documents(CorpusConfig(name=str(tmp_path / "a.jsonl"))))
    (tmp_path / "b.jsonl").write_text(json.dumps({"body": "x"}))
    with pytest.raises(UserError, match=r"row 0 has no 'text' \(it has: body\)"):
        list(read_documents(CorpusConfig(name=str(tmp_path / "b.jsonl"))))
    (tmp_path / "c.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        list(read_documents(CorpusConfig(name=str(tmp_path / "c.parquet"))))


def test_blocks_can_be_taken_up_anywhere(tiny_lm, texts):
    corpus = open_corpus(CorpusConfig(name=str(texts)), tiny_lm.tokenizer, 32)
    whole = [context.tobytes() for block in corpus.blocks(7) for context in block.tokens]
    hashed = corpus.sha256
    for start in (0, 1, 7, len(whole) - 1):
        rest = [context.tobytes() for block in corpus.blocks(5, start) for context in block.tokens]
        assert rest == whole[start:]
        assert corpus.sha256 == hashed


def test_an_empty_corpus_is_an_error(tiny_lm, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    corpus = open_corpus(CorpusConfig(name=str(tmp_path / "empty.txt")), tiny_lm.tokenizer, 32)
    with pytest.raises(UserError, match="holds no text"):
        next(corpus.blocks(4))


def test_contexts_longer_than_the_model_are_refused(tiny_lm):
    with pytest.raises(UserError, match="more than the model's 32"):
        open_corpus(CorpusConfig(context_length=64), tiny_lm.tokenizer, 32)
