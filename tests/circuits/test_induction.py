"""The model built by hand: that it does induction, that its dictionaries are exact, that what is said of it is true."""

import pytest
import torch
from induction import (
    SITES,
    WORDS,
    built_edges,
    built_features,
    built_heads,
    built_lm,
    built_meanings,
    built_saes,
    built_task,
    dictionary,
    latent,
)

from saebench.circuits.batches import Batch, batches, logit_difference, total
from saebench.circuits.discrete import Settings, harvest, identify
from saebench.circuits.graph import node_id, split_node_id
from saebench.circuits.heads import matched
from saebench.circuits.patching import edge_effects, head_effects
from saebench.circuits.tasks import Pair
from saebench.circuits.tasks.check import check_task
from saebench.lm import LanguageModel


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return built_lm()


def examples(lm: LanguageModel, n: int = 40, **how: bool) -> list[Batch]:
    return batches(check_task(built_task(n, **how), lm.tokenizer, lm.context_length), 64)


def test_it_does_induction(lm):
    """On prompts of many lengths: the right word, after the patched prompt the other one, and with confidence."""
    right = n = 0
    for batch in examples(lm, 200):
        for tokens, word in ((batch.clean, batch.answer), (batch.patch, batch.wrong)):
            chances = lm.last_logits(tokens).softmax(-1)
            right += int((chances.argmax(1) == word).sum())
            assert chances.max(1).values.min() > 0.99
            n += len(word)
    assert right == n == 400


def test_bridge_and_twin_are_one_model(lm):
    [batch, *_] = examples(lm)
    torch.testing.assert_close(lm.bridge(batch.clean, return_type="logits"), lm.plain(batch.clean).logits)
    for bridged, own in zip(lm.bridge.original_model.parameters(), lm.plain.parameters(), strict=True):
        assert bridged.data_ptr() == own.data_ptr()


def test_the_dictionaries_are_exact(lm):
    [batch, *_] = examples(lm)
    found, saes = lm.activations(batch.clean, list(SITES)), built_saes()
    for site, x in found.items():
        torch.testing.assert_close(saes[site](x), x, rtol=0, atol=1e-6)
        rows = dictionary(SITES[site])
        torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)))
        assert (rows != 0).sum(1).eq(4).all()  # no latent is a neuron


def test_a_latent_says_what_its_name_says(lm):
    """At the second word of a prompt the previous token is the first word, whichever site says so."""
    [batch, *_] = examples(lm)
    saes = built_saes()
    for site in ("blocks.0.attn.hook_z", "blocks.0.hook_attn_out", "blocks.0.hook_resid_post"):
        codes = saes[site].encode(lm.activations(batch.clean, [site])[site][:, 2]).detach().to_dense()
        for row, word in zip(codes, batch.clean[:, 1], strict=True):
            assert row[latent(site, "previous", int(word))] == pytest.approx(1, abs=1e-5)


@torch.no_grad()
def spliced(lm: LanguageModel, batch: Batch, site: str, nodes: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The metric with one feature set to a value at one position, for each of `nodes` [position, feature]."""
    rows = dictionary(SITES[site])[nodes[:, 1]]
    at = torch.arange(len(nodes)), nodes[:, 0]

    def change(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[at] += (values - (x[at] * rows).sum(1))[:, None] * rows
        return x

    many = [None if tokens is None else tokens.repeat(len(nodes)) for tokens in (batch.answer, batch.wrong)]
    copies = Batch(batch.clean.repeat(len(nodes), 1), None, many[0], many[1], tuple(range(len(nodes))))
    return total(logit_difference(lm.last_logits(copies.clean, {site: change}), copies))


@pytest.mark.parametrize("zero", [False, True])
def test_the_built_features_are_those_that_matter(lm, zero):
    """Every feature of every site and position set to what it is in the patch, one at a time: only they do anything."""
    task = built_task(6, seed=5)
    for number, pair in enumerate(task.pairs):
        if zero:
            pair = Pair(clean=pair.clean, answer=pair.answer)
        encoded = check_task(task.model_copy(update={"pairs": (pair,)}), lm.tokenizer, lm.context_length)
        [batch] = batches(encoded, 1)
        base = float(total(logit_difference(lm.last_logits(batch.clean), batch)))
        clean = lm.activations(batch.clean, list(SITES))
        patch = {site: torch.zeros_like(x) for site, x in clean.items()}
        if batch.patch is not None:
            patch = lm.activations(batch.patch, list(SITES))
        found = set()
        for site in SITES:
            rows = dictionary(SITES[site])
            before, after = (x[site][0] @ rows.T for x in (clean, patch))
            nodes = ((before - after).abs() > 1e-3).nonzero()
            effects = base - spliced(lm, batch, site, nodes, after[nodes[:, 0], nodes[:, 1]])
            strong = nodes[effects.abs() > 0.05 * base].tolist()
            found |= {node_id(site, feature, position) for position, feature in strong}
        assert found == built_features(pair, zero), f"example {number}"


def test_what_is_said_of_an_example():
    """One prompt, read by eye."""
    pair = Pair(clean="a b c d e a", patch="c b a d e a", answer=" b", wrong=" d")
    a, b, d = (WORDS.index(word) for word in "abd")
    meanings = built_meanings(pair)
    assert meanings["blocks.0.hook_attn_out"] == {("previous", a, 2), ("previous", a, 4)}
    assert meanings["blocks.1.hook_resid_post"] == {("answer", b, 6), ("answer", d, 6)}
    assert built_features(pair, sites=["hook_embed"]) == {f"hook_embed/{a}@1", f"hook_embed/{a}@3"}
    edges = built_edges(pair, "blocks.0.hook_attn_out", "blocks.1.hook_attn_out")
    assert {(source[-2:], target[-2:]) for source, target in edges} == {("@2", "@6"), ("@4", "@6")}
    assert len(edges) == 4
    assert all(split_node_id(node)[2] is None for node in built_features(pair, positions=False))


def test_patching_finds_the_built_heads_and_their_edge(lm):
    """Precision and recall of the exact effects are 1, of heads and of edges, for both ways to break a prompt."""
    for broken in (False, True):
        given = examples(lm, broken=broken)
        patched = head_effects(lm, given)
        result = matched({head: abs(effect) for head, effect in patched.effects.items()}, patched.true(), built_heads())
        assert (result.precision, result.recall, result.roc_auc) == (1, 1, 1)
        edges = edge_effects(lm, given)
        strong = {edge for edge, effect in edges.items() if abs(effect) > 0.1 * abs(patched.clean - patched.patch)}
        assert strong == {tuple(sorted(built_heads()))}
        quiet = [abs(effect) for head, effect in patched.effects.items() if head not in built_heads()]
        assert max(quiet) < 1e-4


def test_discrete_codes_of_the_position_that_answers_put_the_induction_head_first(lm, record_property):
    outputs = harvest(lm, examples(lm), pooling="last")
    found = identify(lm, outputs, Settings(latents=100, steps=200))
    result = matched(found.counts, set(), built_heads())
    record_property("roc_auc", result.roc_auc)
    assert max(found.counts, key=found.counts.__getitem__) == (1, 2)
    assert result.roc_auc >= 0.7


def test_mean_pooled_codes_cannot_see_a_head_whose_mean_is_the_same(lm):
    """Exchanging two words leaves the mean of what the previous-token head writes as it was: a limit of the method."""
    outputs = harvest(lm, examples(lm))
    half = len(outputs) // 2
    torch.testing.assert_close(outputs[:half, 1], outputs[half:, 1], rtol=0, atol=1e-6)
    found = identify(lm, outputs, Settings(latents=100, steps=200))
    assert found.counts[next(head for head in found.counts if head == (0, 1))] == 0
