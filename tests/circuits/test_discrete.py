"""Codes and their counts against brute force; outputs against the sum that the projection makes of them."""

import itertools
import math

import numpy as np
import pytest
import torch

from saebench.circuits.batches import Batch
from saebench.circuits.discrete import (
    Settings,
    edge_counts,
    fit,
    harvest,
    head_codes,
    head_outputs,
    identify,
    node_counts,
    softmax,
)
from saebench.circuits.discrete.codes import dense_loss
from saebench.circuits.heads import Head
from saebench.errors import UserError
from saebench.saes import SAE, ReLU
from saebench.saes.losses import variance

QUICK = Settings(latents=40, steps=60, train_examples=6)


@pytest.fixture(scope="module")
def codes():
    generator = np.random.default_rng(0)
    return generator.integers(0, 5, (12, 6)), generator.integers(0, 5, (12, 6))


def test_node_counts_by_hand(codes):
    positive, negative = codes
    expected, shares = [], []
    for head in range(6):
        mine, others = set(positive[:, head].tolist()), set(negative[:, head].tolist())
        expected.append(len(mine - others))
        shares.append(len(mine - others) / len(mine | others))
    assert node_counts(positive, negative).tolist() == expected
    assert node_counts(positive, negative, per_union=True).tolist() == pytest.approx(shares)


def test_edge_counts_by_brute_force(codes):
    """As the paper's dense array [head, head, code, code] counts them."""
    positive, negative = codes
    dense = np.zeros((2, 6, 6, 5, 5), int)
    for kind, side in enumerate((positive, negative)):
        for row in side:
            for a, b in itertools.permutations(range(6), 2):
                dense[kind, a, b, row[a], row[b]] += 1
    only, either = (dense[0] > 0) & (dense[1] == 0), (dense[0] > 0) | (dense[1] > 0)
    pairs = list(itertools.permutations(range(6), 2))
    expected = [int(only[pair].sum()) for pair in pairs]
    assert edge_counts(positive, negative, pairs).tolist() == expected
    assert max(expected) > min(expected)
    shares = [only[pair].sum() / either[pair].sum() for pair in pairs]
    assert edge_counts(positive, negative, pairs, per_union=True).tolist() == pytest.approx(shares)


def test_softmax_bears_large_counts():
    shares = softmax(np.array([1000.0, 999.0, 0.0]))
    assert shares.sum() == pytest.approx(1)
    assert shares[1] / shares[0] == pytest.approx(math.exp(-1))


def test_outputs_add_up_to_what_attention_writes(tiny_lm):
    """All heads of a layer and the projection's bias are attn_out, at the last position and on the mean."""
    torch.manual_seed(0)
    tokens = torch.randint(1, tiny_lm.d_vocab, (3, 7))
    bias = [block.attn.c_proj.bias for block in tiny_lm.plain.transformer.h]
    for pooling, first in (("mean", 0), ("last", -1)):
        outputs = head_outputs(tiny_lm, [tokens], pooling).view(3, 3, 4, 32)
        for layer in range(3):
            name = f"blocks.{layer}.hook_attn_out"
            written = tiny_lm.activations(tokens, [name])[name][:, first:].mean(1)
            torch.testing.assert_close(outputs[:, layer].sum(1) + bias[layer], written, rtol=1e-4, atol=1e-4)


def test_the_begin_token_is_left_out_of_the_mean(tiny_lm):
    torch.manual_seed(0)
    tokens = torch.randint(1, tiny_lm.d_vocab, (2, 7))
    tokens[:, 0] = tiny_lm.tokenizer.bos_token_id
    name = "blocks.1.hook_attn_out"
    written = tiny_lm.activations(tokens, [name])[name][:, 1:].mean(1)
    outputs = head_outputs(tiny_lm, [tokens]).view(2, 3, 4, 32)[:, 1].sum(1)
    torch.testing.assert_close(outputs + tiny_lm.plain.transformer.h[1].attn.c_proj.bias, written, rtol=1e-4, atol=1e-4)


def test_the_dense_loss_is_the_rules_own():
    torch.manual_seed(0)
    x = torch.randn(50, 16) * 3
    sae = SAE.create(16, 30, ReLU(l1_weight=0.05))
    with torch.no_grad():
        sae.b_enc.normal_()
        sae.b_dec.normal_()
    own, dense = sae.loss(x).total, dense_loss(sae, x, variance(x), 0.05)
    torch.testing.assert_close(dense, own)
    gradients = (torch.autograd.grad(loss, list(sae.parameters())) for loss in (dense, own))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_codes_are_the_strongest_latents():
    torch.manual_seed(0)
    outputs = torch.randn(8, 5, 16)
    sae = fit(outputs, QUICK)
    dense = torch.relu((outputs - sae.b_dec) @ sae.W_enc.T + sae.b_enc)
    strongest = dense.argmax(-1)
    strongest[dense.max(-1).values == 0] = QUICK.latents
    assert head_codes(sae, outputs).tolist() == strongest.tolist()
    with torch.no_grad():
        sae.b_enc.fill_(-1e9)
    assert (head_codes(sae, outputs) == QUICK.latents).all()


def test_training_learns_and_repeats_itself():
    torch.manual_seed(0)
    outputs = torch.randn(6, 4, 16)
    first, again = fit(outputs, QUICK), fit(outputs, QUICK)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    rows = outputs.flatten(0, 1)
    start = fit(outputs, Settings(latents=40, steps=0, train_examples=6))
    losses = [dense_loss(sae, rows, variance(rows), QUICK.l1).item() for sae in (start, first)]
    assert losses[1] < 0.5 * losses[0]
    other = fit(outputs, Settings(latents=40, steps=60, train_examples=6, seed=1))
    assert not torch.equal(other.W_enc, first.W_enc)


def test_a_head_that_tells_clean_from_patched_comes_first(tiny_lm):
    """Eleven heads say the same in both halves of the examples, one says something else."""
    torch.manual_seed(0)
    base = torch.randn(12, 12, 32)
    outputs = torch.cat([base, base])
    outputs[:12, 6] += 8 * torch.randn(12, 32)
    found = identify(tiny_lm, outputs, QUICK)
    special = Head(1, 2)
    assert found.counts[special] > 0
    assert all(count == 0 for head, count in found.counts.items() if head != special)
    assert max(found.scores, key=found.scores.__getitem__) == special
    assert sum(found.scores.values()) == pytest.approx(1)
    for (sender, receiver), count in found.edges.items():
        assert sender.layer < receiver.layer
        assert (count > 0) == (special in (sender, receiver))


def test_a_heads_constant_does_not_count(tiny_lm):
    """Centred, heads that differ in what they always write have the same codes as without that."""
    torch.manual_seed(0)
    outputs = torch.randn(24, 12, 32)
    moved = identify(tiny_lm, outputs + 3 * torch.randn(12, 32), QUICK).counts
    assert moved == identify(tiny_lm, outputs, QUICK).counts
    raw = Settings(latents=40, steps=60, train_examples=6, centre=False)
    assert identify(tiny_lm, outputs + 30 * torch.randn(12, 32), raw).counts != moved


def test_what_cannot_be_identified(tiny_lm):
    tokens = torch.ones(2, 4, dtype=torch.long)
    with pytest.raises(UserError, match="give every example a patch"):
        harvest(tiny_lm, [Batch(tokens, None, tokens[:, 0], None, (0, 1))])
    with pytest.raises(UserError, match="not finite"):
        identify(tiny_lm, torch.full((4, 12, 32), torch.nan), QUICK)
