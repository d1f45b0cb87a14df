"""The embedding score with a real, tiny sentence encoder and by counting pairs."""

import re
import shutil
import sys

import numpy as np
import pytest
import synthetic
from endpoint import Endpoint
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from saebench.cli import app
from saebench.cli.explain import open_chat
from saebench.errors import UserError
from saebench.explaining import ExplainConfig
from saebench.explaining.embedding import QUERY, auc, load_encoder
from saebench.explaining.windows import Window
from store import Annotations


class Letters:
    """Counts letters: a real encoder of the same interface, whose similarities are known."""

    def encode(self, sentences, **_):
        bare = [sentence.removeprefix(QUERY) for sentence in sentences]
        return np.array([[text.count(letter) for letter in "abcd"] for text in bare], float)


texts = st.lists(st.text("abcd", max_size=4), max_size=7)


@settings(deadline=None)
@given(st.text("abcd", min_size=1, max_size=4), texts, texts)
def test_the_share_of_pairs_in_the_right_order(explanation, positives, negatives):
    def window(text):
        return Window((text,), (0.0,), (False,))

    score = auc(Letters(), explanation, [window(t) for t in positives], [window(t) for t in negatives])
    if not positives or not negatives:
        assert score is None
        return
    vectors = Letters().encode([explanation, *positives, *negatives])
    lengths = np.linalg.norm(vectors, axis=1)
    near = [v @ vectors[0] / max(n, 1e-12) / lengths[0] for v, n in zip(vectors[1:], lengths[1:], strict=True)]
    pairs = [(p, n) for p in near[: len(positives)] for n in near[len(positives) :]]
    expected = sum(1.0 if p > n + 1e-12 else 0.5 if abs(p - n) <= 1e-12 else 0.0 for p, n in pairs) / len(pairs)
    assert score == pytest.approx(expected)


@pytest.fixture(scope="module")
def encoder_folder(tiny_folder, tmp_path_factory):
    """A sentence-transformers folder: a random BERT of two layers with mean pooling."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    tokenizer.pad_token = tokenizer.eos_token
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=16, max_position_embeddings=128)  # fmt: skip
    BertModel(config).save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    transformer = Transformer(str(folder / "bert"), max_seq_length=64)
    SentenceTransformer(modules=[transformer, Pooling(16)]).save(str(folder / "tiny"))
    return folder / "tiny"


def test_scores_of_patterns_on_the_command_line(encoder_folder, read_only_workspace, tmp_path):

    workspace = shutil.copytree(read_only_workspace, tmp_path / "ws")
    arguments = ["explain", "--workspace", str(workspace), "--features", "20-22", "--score", "embedding",
                 "--set", f"explain.encoder={encoder_folder}"]  # fmt: skip
    for _ in range(2):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    rows = [row for row in Annotations(workspace).explanations(synthetic.SAE) if row.scorer == "embedding"]
    assert [row.feature for row in rows] == [20, 21, 22]
    assert all(0 <= row.score <= 1 and row.method == "n2g" and row.split == "scoring" for row in rows)
    assert rows[0].info["scored_with"]["model"] == str(encoder_folder)
    assert len(re.findall(r"embedding \d\.\d\d", result.output)) == 3


def test_a_real_encoder_gives_one_vector_a_text(encoder_folder):
    vectors = load_encoder(str(encoder_folder)).encode(["a", "b c", ""], show_progress_bar=False)
    assert np.asarray(vectors).shape == (3, 16)


def test_no_encoder(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"explain\.encoder=FOLDER"):
        load_encoder(None)
    with pytest.raises(UserError, match="does not exist"):
        load_encoder(str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="cannot open sentence encoder") as error:
        load_encoder(str(tmp_path / "empty"))
    assert "\n" not in str(error.value)
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(UserError, match=r"pip install 'saebench\[explain\]'"):
        load_encoder(str(tmp_path / "empty"))


def test_no_httpx(monkeypatch):
    monkeypatch.delitem(sys.modules, "saebench.explaining.chat", raising=False)
    monkeypatch.setitem(sys.modules, "httpx", None)
    with Endpoint() as server, pytest.raises(UserError, match=r"pip install 'saebench\[explain\]'"):
        open_chat(ExplainConfig.model_validate({"endpoint": {"url": server.url, "model": "m"}}))
