"""Attributions against the model itself: they add up to activations, and each is what its token's absence takes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from saebench.config import CorpusConfig
from saebench.corpus import open_corpus
from saebench.errors import UserError
from saebench.indexing import IndexConfig, build_index
from saebench.lm import LanguageModel, load_lm
from saebench.saes import SAE, TopK
from saebench.saes.layer_norm import normalise
from store import FeatureStore

HOOK = "blocks.1.attn.hook_z"
N_LATENTS = 24


@pytest.fixture(scope="module")
def grouped_lm(tiny_lm: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """A tiny Llama in which two heads share each pair of keys and values."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "grouped"
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=tiny_lm.d_vocab, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=32, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tiny_lm.tokenizer.save_pretrained(folder)
    return load_lm(str(folder))


def index(lm: LanguageModel, sae: SAE, texts: Path, workspace: Path, hook_point: str = HOOK, **settings) -> Path:
    corpus = open_corpus(CorpusConfig(name=str(texts)), lm.tokenizer, 32)
    config = IndexConfig(batch_contexts=3, part_batches=2, **settings)
    (workspace / "indexes").mkdir(parents=True, exist_ok=True)
    return build_index(
        config, lm, sae, corpus, hook_point, indexes=workspace / "indexes", index_id="tiny.texts",
        provenance={"sae": "x"},
    )  # fmt: skip


def attention_sae(normalised: str = "none") -> SAE:
    """An SAE with biases, whose encoder is not its decoder."""
    sae = SAE.create(32, N_LATENTS, TopK(k=4), seed=1, normalise=normalised)
    with torch.no_grad():
        for bias in (sae.b_enc, sae.b_dec):
            bias.copy_(0.1 * torch.randn(bias.shape, generator=torch.Generator().manual_seed(2)))
        sae.W_enc += 0.1 * torch.randn(sae.W_enc.shape, generator=torch.Generator().manual_seed(3))
    return sae.eval()


def z_of(lm: LanguageModel, tokens: torch.Tensor, silent: tuple[int, int | slice] | None = None) -> torch.Tensor:
    """float32[context, heads · d_head], with the values of one (position, heads) set to zero on their way."""
    found: list[torch.Tensor] = []

    def silence(value, hook):
        if silent is not None:
            value[:, silent[0], silent[1]] = 0
        return value

    def keep(value, hook):
        found.append(value.flatten(2)[0].clone())

    lm.bridge.run_with_hooks(tokens, fwd_hooks=[(HOOK.replace("hook_z", "hook_v"), silence), (HOOK, keep)])
    return found[0]


@pytest.mark.parametrize("model", ["tiny_lm", "grouped_lm"])
@torch.no_grad()
def test_terms_add_up_and_are_what_absence_takes_away(request, model, texts, tmp_path):
    lm, sae = request.getfixturevalue(model), attention_sae()
    index(lm, sae, texts, tmp_path)
    constant = sae.b_enc - sae.W_enc @ sae.b_dec
    n_values = lm.bridge.cfg.n_key_value_heads or lm.n_heads
    seen = 0
    with FeatureStore.open(tmp_path) as store:
        for number in range(N_LATENTS):
            feature = store.feature(None, number)
            found = feature.attributions()
            assert len(found) == min(len(feature.top()), 4)
            for one in found:
                at = one.example.position
                seen += 1
                assert one.total + float(constant[number]) == pytest.approx(one.example.value, rel=2e-3, abs=1e-3)
                assert one.heads.sum() == pytest.approx(one.total, abs=1e-4)
                assert len(one.sources) == at + 1
            if not found or number % 6:
                continue
            one = found[0]
            at, tokens = one.example.position, torch.tensor([store.context(one.example.context).tokens])
            z, row = z_of(lm, tokens)[at], sae.W_enc[number]
            for position in range(at + 1):
                gone = z - z_of(lm, tokens, (position, slice(None)))[at]
                assert float(row @ gone) == pytest.approx(one.sources[position], abs=1e-4)
            by_values = one.heads.reshape(n_values, -1).sum(1)  # heads that share values fall silent together
            for shared in range(n_values):
                without = z_of(lm, tokens, (slice(None), shared))[at]
                assert float(row @ (z - without)) == pytest.approx(by_values[shared], abs=1e-4)
            slices = (row * z).view(lm.n_heads, -1).sum(1)
            np.testing.assert_allclose(one.heads, slices, atol=1e-4)
    assert seen > N_LATENTS


@torch.no_grad()
def test_layer_normed_inputs_add_up_too(tiny_lm, texts, tmp_path):
    sae = attention_sae("layer_norm")
    index(tiny_lm, sae, texts, tmp_path, attributions=2)
    with FeatureStore.open(tmp_path) as store:
        for number in range(N_LATENTS):
            found = store.feature(None, number).attributions()
            assert len(found) <= 2
            for one in found:
                tokens = torch.tensor([store.context(one.example.context).tokens])
                z = tiny_lm.activations(tokens, [HOOK])[HOOK][0, one.example.position]
                expected = float(normalise(z[None])[0] @ sae.W_enc[number])
                assert one.total == pytest.approx(expected, abs=1e-4)


def test_other_saes_have_none(tiny_lm, texts, tmp_path):
    index(tiny_lm, attention_sae(), texts, tmp_path / "residual", "blocks.1.hook_resid_post")
    index(tiny_lm, attention_sae(), texts, tmp_path / "without", attributions=0)
    for folder in ("residual", "without"):
        with FeatureStore.open(tmp_path / folder) as store:
            assert store.sql("SELECT count(*) AS n FROM attribution").rows() == [{"n": 0}]
            assert len(store.feature(None, 0).heads()) == (4 if folder == "without" else 0)


def test_heads_that_are_no_weighted_sums_are_refused_before_any_work(tiny_lm, texts, tmp_path, monkeypatch):
    own = LanguageModel.attention
    monkeypatch.setattr(LanguageModel, "attention", lambda *given: (own(*given)[0] ** 2, own(*given)[1]))
    with pytest.raises(UserError, match=r"not attention patterns times values.*index\.attributions to 0") as raised:
        index(tiny_lm, attention_sae(), texts, tmp_path)
    assert "\n" not in str(raised.value)
    assert list((tmp_path / "indexes").iterdir()) == []


def test_a_run_killed_among_attributions_goes_on(tiny_lm, texts, tmp_path, monkeypatch):
    from saebench.indexing import attribution

    whole = index(tiny_lm, attention_sae(), texts, tmp_path / "whole")
    calls = []
    own = attribution.attributions

    def killed(*given):
        calls.append(given[3].path.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return own(*given)

    monkeypatch.setattr(attribution, "attributions", killed)
    with pytest.raises(KeyboardInterrupt):
        index(tiny_lm, attention_sae(), texts, tmp_path / "killed")
    again = index(tiny_lm, attention_sae(), texts, tmp_path / "killed")
    assert calls.count(calls[0]) == 1
    assert calls.count(calls[1]) == 2
    assert again.read_bytes() == whole.read_bytes()
