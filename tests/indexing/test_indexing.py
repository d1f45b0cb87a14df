"""The encode pass and the decoder tables against plain loops."""

import numpy as np
import pytest
import torch

from saebench.config import CorpusConfig
from saebench.corpus import open_corpus
from saebench.errors import UserError
from saebench.indexing import IndexConfig, build_index
from saebench.indexing.decoder import count, decoder_tables, nearest
from saebench.saes import SAE, TopK
from store import FeatureStore

HOOK = "blocks.1.hook_resid_post"


@pytest.fixture
def sae():
    return SAE.create(32, 60, TopK(k=5), seed=1)


def test_neighbours_by_plain_loops(sae):
    indices, values = nearest(sae.W_dec.detach(), 4)
    W = sae.W_dec.detach().double().numpy()
    for latent in range(len(W)):
        cosine = W @ W[latent] / np.linalg.norm(W, axis=1) / np.linalg.norm(W[latent])
        cosine[latent] = -2
        best = np.argsort(-cosine)[:4]
        np.testing.assert_allclose(values[latent], cosine[best], atol=1e-5)
        assert set(indices[latent].tolist()) == set(best.tolist())


def test_decoder_tables_by_plain_loops(sae, tiny_lm):
    config = IndexConfig(neighbours=3, logit_tokens=6, logit_bins=10)
    tables = decoder_tables(config, tiny_lm, sae, HOOK)
    logits = tiny_lm.logit_lens(sae.W_dec.detach(), HOOK).numpy()
    for latent in range(60):
        order = np.argsort(-logits[latent])
        np.testing.assert_allclose(tables.promoted_logit[latent], logits[latent][order[:6]], rtol=1e-5)
        np.testing.assert_allclose(tables.suppressed_logit[latent], logits[latent][order[::-1][:6]], rtol=1e-5)
        np.testing.assert_allclose(logits[latent][tables.promoted[latent]], tables.promoted_logit[latent])
        expected, _ = np.histogram(logits[latent], tables.logit_histogram_edges)
        assert np.abs(tables.logit_histogram[latent] - expected).sum() <= 2  # a value may sit on a rounded edge
        assert tables.logit_histogram[latent].sum() == logits.shape[1]
    np.testing.assert_allclose(tables.decoder_norm, 1, rtol=1e-5)
    expected = torch.cosine_similarity(sae.W_enc, sae.W_dec).detach().numpy()
    np.testing.assert_allclose(tables.encoder_decoder_cosine, expected, rtol=1e-5)


def test_histogram_counts_every_value_once():
    values = torch.tensor([[-1.0, -0.5, 0.0, 0.999, 1.0]])
    assert count(values, np.linspace(-1, 1, 5, dtype=np.float32)).tolist() == [[1, 1, 1, 2]]


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_the_index_holds_the_codes_of_a_dense_encoder(sae, tiny_lm, texts, tmp_path, batch):
    corpus = open_corpus(CorpusConfig(name=str(texts)), tiny_lm.tokenizer, 32)
    config = IndexConfig(batch_contexts=batch, part_batches=2)
    (tmp_path / "ws" / "indexes").mkdir(parents=True)
    build_index(
        config, tiny_lm, sae, corpus, HOOK, indexes=tmp_path / "ws" / "indexes",
        index_id="tiny.texts", provenance={"sae": "x"},
    )  # fmt: skip
    with FeatureStore.open(tmp_path / "ws") as store:
        for number, block in enumerate(corpus.blocks(1)):
            x = tiny_lm.activations(torch.from_numpy(block.tokens).long(), [HOOK])[HOOK][0]
            z = (x - sae.b_dec) @ sae.W_enc.T + sae.b_enc
            top = z.topk(5, dim=1)
            expected = {
                (token, int(latent)): float(value)
                for token in range(32)
                if not block.special[0, token]
                for latent, value in zip(top.indices[token], top.values[token], strict=True)
                if value > 0
            }
            rows = store.codes(number, sae="tiny").rows()
            found = {(row["position"], row["feature"]): row["value"] for row in rows}
            assert found.keys() == expected.keys()
            for key, value in expected.items():
                assert found[key] == pytest.approx(value, rel=2e-3)


def test_an_sae_of_another_width_is_refused(tiny_lm, texts, tmp_path):
    corpus = open_corpus(CorpusConfig(name=str(texts)), tiny_lm.tokenizer, 32)
    wrong = SAE.create(16, 60, TopK(k=5), seed=1)
    with pytest.raises(UserError, match=r"reads vectors of 16.*has 32"):
        build_index(IndexConfig(), tiny_lm, wrong, corpus, HOOK, indexes=tmp_path, index_id="tiny.texts", provenance={})


def test_heads_share_a_decoder_row_by_the_norms_of_their_slices(tiny_lm):
    attention = SAE.create(32, 60, TopK(k=5), seed=3)
    with torch.no_grad():
        attention.W_dec[7] = 0
        attention.W_dec[8, :24] = 0
    tables = decoder_tables(IndexConfig(), tiny_lm, attention, "blocks.1.attn.hook_z")
    for latent, row in enumerate(attention.W_dec.detach().double().numpy()):
        norms = [sum(float(x) ** 2 for x in row[8 * head : 8 * head + 8]) ** 0.5 for head in range(4)]
        np.testing.assert_allclose(tables.head_share[latent], [n / (sum(norms) or 1) for n in norms], atol=1e-6)
    assert tables.head_share[8].tolist() == [0, 0, 0, 1]
    assert decoder_tables(IndexConfig(), tiny_lm, attention, HOOK).head_share.size == 0
