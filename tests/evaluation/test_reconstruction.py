"""Reconstruction figures against their definitions, computed plainly on the whole corpus at once."""

import numpy as np
import pytest
import torch

from saebench.config import CorpusConfig
from saebench.corpus import Contexts, open_corpus
from saebench.evaluation import evaluate_reconstruction
from saebench.saes import SAE, TopK

HOOK = "blocks.1.hook_resid_post"


@pytest.fixture
def contexts(tiny_lm, texts):
    corpus = open_corpus(CorpusConfig(name=str(texts)), tiny_lm.tokenizer, 32)
    return Contexts.stack(list(corpus.blocks(100)))


def halves(contexts):
    n = len(contexts) // 2
    for part in (slice(0, n), slice(n, None)):
        yield Contexts(
            contexts.tokens[part], contexts.special[part], contexts.source[part], contexts.bounds[part],
            contexts.segments[part],
        )  # fmt: skip


def test_figures_follow_their_definitions(tiny_lm, contexts):
    sae = SAE.create(32, 60, TopK(k=5), seed=1)
    result = evaluate_reconstruction(tiny_lm, sae, HOOK, halves(contexts))
    tokens, keep = torch.from_numpy(contexts.tokens).long(), torch.from_numpy(~contexts.special)
    x = tiny_lm.activations(tokens, [HOOK])[HOOK]
    with torch.no_grad():
        reconstruction = sae(x.flatten(0, 1)).view_as(x)
    rows, error = x[keep].double(), (x - reconstruction)[keep].double()
    variance = rows.square().sum(1).mean() - rows.mean(0).square().sum()
    assert result.fvu == pytest.approx(float(error.square().sum(1).mean() / variance), rel=1e-4)
    codes = sae.encode(x[keep]).to_dense().detach().numpy()
    assert result.l0 == pytest.approx((codes > 0).sum(1).mean())
    assert result.dead == pytest.approx(1 - np.mean((codes > 0).any(0)))
    assert result.tokens == int(keep.sum())

    def spliced(replacement):
        def hook(value, *, hook):
            return torch.where(keep[..., None], replacement, value)

        loss = tiny_lm.loss(tokens, [(HOOK, hook)])
        return float(loss[keep[:, 1:]].double().mean())

    assert result.ce == pytest.approx(spliced(x), rel=1e-5)
    assert result.ce_sae == pytest.approx(spliced(reconstruction), rel=1e-5)
    assert result.ce_zero == pytest.approx(spliced(torch.zeros_like(x)), rel=1e-5)


def test_a_perfect_sae_recovers_everything(tiny_lm, contexts):
    sae = SAE.create(32, 65, TopK(k=64), seed=0)
    with torch.no_grad():  # ±identity: every coordinate's positive and negative part; the last latent never fires
        parts = torch.cat([torch.eye(32), -torch.eye(32), torch.zeros(1, 32)])
        sae.W_enc.copy_(parts)
        sae.W_dec.copy_(parts)
        sae.b_enc.zero_()
        sae.b_dec.zero_()
    result = evaluate_reconstruction(tiny_lm, sae, HOOK, iter([contexts]))
    assert result.fvu < 1e-9
    assert result.ce_recovered == pytest.approx(1, abs=1e-6)
