from pathlib import Path

import numpy as np
import pytest
import synthetic
import tiny
import torch
from fastapi.testclient import TestClient
from playwright.sync_api import expect
from transformers import AutoTokenizer, GPT2LMHeadModel

import web
from saebench.errors import UserError
from saebench.lm import load_lm
from saebench.saes import SAE, TopK
from web.formats import percent
from web.live import BusyError, CannotOpenError, Live, live_codes
from web.live.models import MOST_WAITING
from web.routes.live import MOST_CHARACTERS

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


def removal_by_hand(workspace: Path, text: str, feature: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(losses, losses without the feature, probabilities, probabilities without) at every token, from transformers
    and a hook that subtracts activation times decoder row.
    """
    folder = workspace.parent / "tiny-lm"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
    sae = SAE.load(workspace / "saes" / synthetic.SAE)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    truth = torch.from_numpy(dense_truth(workspace, text))
    parts = []
    room = tiny.CONTEXT - 1
    for start in range(0, len(ids), room):
        tokens = torch.tensor([[tokenizer.bos_token_id, *ids[start : start + room]]])
        written = truth[start : start + room, feature, None] * sae.W_dec[feature]

        def remove(_module, _inputs, output, written=written):
            x = (output[0] if isinstance(output, tuple) else output).clone()
            x[0, 1:] -= written
            return (x, *output[1:]) if isinstance(output, tuple) else x

        with torch.no_grad():
            before = model(tokens).logits[0, 1:].log_softmax(-1)
            handle = model.transformer.h[0].register_forward_hook(remove)
            after = model(tokens).logits[0, 1:].log_softmax(-1)
            handle.remove()
        following = [*tokens[0, 2:].tolist(), 0]
        losses = [-logs[torch.arange(len(following)), following].clone() for logs in (before, after)]
        for loss in losses:
            loss[-1] = torch.nan
        parts.append([*losses, before.exp(), after.exp()])
    return tuple(torch.cat(each).numpy() for each in zip(*parts, strict=True))


@pytest.mark.parametrize("text", [TEXTS[0], TEXTS[3]])
def test_the_effect_of_removing_a_feature_equals_a_hook_by_hand(
    client: TestClient, workspace: Path, sae: str, text: str
):
    feature = int(dense_truth(workspace, text).sum(0).argmax())
    before, after, shares, shares_after = removal_by_hand(workspace, text, feature)
    data = client.post(f"{sae}/features/{feature}/live.json", json={"text": text}).json()
    numbers = lambda values: np.array([np.nan if value is None else value for value in values])  # noqa: E731
    assert np.nanmax(np.abs(after - before)) > 1e-3
    np.testing.assert_allclose(numbers(data["losses"]), before, atol=1e-4)
    np.testing.assert_allclose(numbers(data["loss_changes"]), after - before, atol=1e-4)
    assert data["loss_change"] == pytest.approx(np.nansum(after - before), abs=1e-3)
    moved = shares_after - shares
    for sign, side in ((-1, "falls"), (1, "rises")):
        for t, shifts in enumerate(data[side]):
            most = np.sort(sign * moved[t])[::-1][:5]
            found = [sign * (shift["after"] - shift["before"]) for shift in shifts]
            np.testing.assert_allclose(found, most[: len(found)], atol=1e-5)
            assert len(found) == 5 or most[len(found)] < 2e-4


def test_a_silent_feature_changes_nothing(client: TestClient, workspace: Path, sae: str):
    feature = int(np.flatnonzero(dense_truth(workspace, TEXTS[0]).sum(0) == 0)[0])
    data = client.post(f"{sae}/features/{feature}/live.json", json={"text": TEXTS[0]}).json()
    assert data["n_active"] == 0
    assert {change for change in data["loss_changes"] if change is not None} == {0}
    assert not any(data["falls"] + data["rises"])
    assert "Silent on" in client.post(f"{sae}/features/{feature}/live", json={"text": TEXTS[0]}).text


def test_few_may_wait_for_the_model(workspace: Path):
    live = Live(workspace, load_lm)
    for _ in range(MOST_WAITING):
        assert live._places.acquire(blocking=False)
    with pytest.raises(BusyError), live.using(synthetic.SAE):
        pass
    live._places.release()
    with live.using(synthetic.SAE):
        pass


def test_an_sae_that_was_trained_anew_is_opened_anew(workspace: Path, tmp_path: Path):
    folder = tmp_path / "saes" / "again"
    tiny.write_sae(folder, workspace.parent / "tiny-lm", 20)
    live = Live(tmp_path, load_lm)
    before = live_codes(live, "again", "def f").latents
    SAE.create(tiny.WIDTH, 40, TopK(k=3), seed=1).save(folder)
    assert len(live_codes(live, "again", "def f").latents) != len(before)


@pytest.mark.parametrize("text", TEXTS)
def test_live_codes_equal_a_dense_computation(workspace: Path, text: str):
    codes = live_codes(Live(workspace, load_lm), synthetic.SAE, text)
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
    with pytest.raises(CannotOpenError, match="not the one this SAE was trained on"):
        live_codes(Live(tmp_path, load_lm), "other", "x")


def test_without_a_model_the_box_is_off(workspace: Path, sae: str):
    client = TestClient(web.create_app(workspace), "http://127.0.0.1")
    assert "runs without a language model" in client.get(f"{sae}/features/1").text
    assert client.post(f"{sae}/features/1/live", json={"text": "x"}).status_code == 503


@pytest.mark.browser
def test_pointing_at_a_token_says_what_follows_without_the_feature(
    opened,
    address: str,
    client: TestClient,
    workspace: Path,
    sae: str,
):
    text = TEXTS[0]
    feature = int(dense_truth(workspace, text).sum(0).argmax())
    data = client.post(f"{sae}/features/{feature}/live.json", json={"text": text}).json()
    peak = int(np.argmax(data["activations"]))
    page = opened(f"{address}{sae}/features/{feature}")
    page.keyboard.press("t")
    page.keyboard.insert_text(text)
    expect(page.locator("#live-said")).to_contain_text("Removing it changes the loss")
    expect(page.locator("#live-output .here")).to_have_attribute("data-i", str(peak))
    shown = [n for n in range(len(data["tokens"])) if data["falls"][n] and n != peak][-1]
    page.locator(f'#live-output [data-i="{shown}"]').hover()
    row = page.locator("[data-slot=falls] li").first
    expect(row).to_contain_text(percent(data["falls"][shown][0]["after"]))
    expect(row).to_contain_text(data["falls"][shown][0]["token"].strip())
    page.get_by_role("button", name="loss without it").click()
    page.locator("#live-text").press_sequentially(" ")
    expect(page.get_by_role("button", name="loss without it")).to_have_attribute("aria-pressed", "true")
