from pathlib import Path

import numpy as np
import pytest
import synthetic
import tiny
import torch
from fastapi.testclient import TestClient
from transformers import AutoTokenizer, GPT2LMHeadModel

import web
from saebench.errors import UserError
from saebench.lm import load_lm
from saebench.saes import SAE
from web.live import MOST_CHARACTERS, LiveEncoder

TEXTS = ["def f(self):\n\treturn self.x", "naïve → 日本語 🙂", "x", "for item in items:\n    print(item)\n" * 6]


def dense_truth(workspace: Path, text: str) -> np.ndarray:
    """Activations of every feature at every token, from transformers and a dense top-k alone."""
    folder = workspace.parent / "tiny-lm"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = GPT2LMHeadModel.from_pretrained(folder).eval()
    sae = SAE.load(workspace / "saes" / synthetic.SAE)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    rows = []
    room = tiny.CONTEXT - 1
    for start in range(0, len(ids), room):
        tokens = torch.tensor([[tokenizer.bos_token_id, *ids[start : start + room]]])
        with torch.no_grad():
            hidden = model(tokens, output_hidden_states=True).hidden_states[1][0, 1:]
        pre = (hidden - sae.b_dec) @ sae.W_enc.T + sae.b_enc
        kth = pre.topk(8, dim=1).values[:, -1:]
        rows.append(torch.where(pre >= kth, pre, 0).clamp(min=0).detach().numpy())
    return np.concatenate(rows)


@pytest.mark.parametrize("text", TEXTS)
def test_live_codes_equal_a_dense_computation(workspace: Path, text: str):
    codes = LiveEncoder(workspace, load_lm)(synthetic.SAE, text)
    assert b"".join(codes.pieces) == text.encode()
    truth = dense_truth(workspace, text)
    found = np.stack([codes.of(feature) for feature in range(synthetic.N_FEATURES)], 1)
    np.testing.assert_allclose(found, truth, atol=1e-4)


def test_live_json_and_page_say_the_same(client: TestClient, workspace: Path, sae: str):
    text = TEXTS[0]
    feature = int(dense_truth(workspace, text).sum(0).argmax())
    body = {"text": text}
    data = client.post(f"{sae}/features/{feature}/live.json", json=body).json()
    assert "".join(data["tokens"]) == text
    assert data["max_activation"] == pytest.approx(dense_truth(workspace, text)[:, feature].max(), abs=1e-4)
    page = client.post(f"{sae}/features/{feature}/live", json=body).text
    assert f"Fires on {data['n_active']} of {data['n_tokens']} tokens" in page
    assert " peak" in page


@pytest.mark.parametrize(
    ("text", "status", "cause"),
    [("", 422, "empty"), ("a" * (MOST_CHARACTERS + 1), 413, "8,001 characters"), ("\ud800", 422, "")],
)
def test_texts_that_cannot_be_encoded(client: TestClient, sae: str, text: str, status: int, cause: str):
    body = '{"text": "' + text.replace("\ud800", "\\ud800") + '"}'
    answer = client.post(f"{sae}/features/1/live.json", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert cause in answer.json()["cause"]


@pytest.mark.parametrize("body", ["", "[]", "{", '{"text": 5}', '{"text": null}'])
def test_bodies_that_are_no_text(client: TestClient, sae: str, body: str):
    answer = client.post(f"{sae}/features/1/live.json", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["cause"]


def test_a_model_that_cannot_be_opened_is_said_in_the_box(workspace: Path, sae: str):
    def gone(name: str, **how: str) -> None:
        raise UserError(f"model folder {name!r} does not exist")

    client = TestClient(web.create_app(workspace, gone), "http://127.0.0.1")
    answer = client.post(f"{sae}/features/1/live", json={"text": "x"})
    assert answer.status_code == 503
    assert "does not exist" in answer.json()["cause"]


def test_another_model_under_the_same_name_is_refused(workspace: Path, tmp_path: Path):
    folder = tmp_path / "saes" / "other"
    tiny.write_sae(folder, workspace.parent / "tiny-lm", 20)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("sha256: ", "sha256: 0000"))
    with pytest.raises(UserError, match="not the one this SAE was trained on"):
        LiveEncoder(tmp_path, load_lm)("other", "x")


def test_without_a_model_the_box_is_off(workspace: Path, sae: str):
    client = TestClient(web.create_app(workspace), "http://127.0.0.1")
    assert "runs without a language model" in client.get(f"{sae}/features/1").text
    assert client.post(f"{sae}/features/1/live", json={"text": "x"}).status_code == 503
