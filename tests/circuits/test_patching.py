"""Exact patching of heads against runs of transformers' own model with its tensors exchanged by hand."""

import pytest
import torch
from torch import Tensor

from saebench.circuits.batches import Batch, logit_difference
from saebench.circuits.heads import Head, above_mean, matched
from saebench.circuits.patching import edge_effects, head_effects
from saebench.errors import UserError

D_HEAD, HEADS, LAYERS = 8, 4, 3


@pytest.fixture(scope="module")
def given(tiny_lm) -> list[Batch]:
    """Three examples of two lengths."""
    torch.manual_seed(3)
    made = []
    for rows, length in (((0, 2), 6), ((1,), 9)):
        clean = torch.randint(1, tiny_lm.d_vocab, (len(rows), length))
        patch = torch.randint(1, tiny_lm.d_vocab, (len(rows), length))
        answer, wrong = torch.randint(1, tiny_lm.d_vocab, (2, len(rows)))
        made.append(Batch(clean, patch, answer, wrong, rows))
    return made


def projections(lm) -> list[torch.nn.Module]:
    return [block.attn.c_proj for block in lm.plain.transformer.h]


@torch.no_grad()
def hand(lm, tokens: Tensor, at: dict[int, Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
    """Logits and the input of every layer's output projection, with some of those inputs replaced."""
    seen, handles = {}, []
    for layer, module in enumerate(projections(lm)):

        def before(_module, inputs, layer=layer):
            seen[layer] = (at or {}).get(layer, inputs[0])
            return (seen[layer],)

        handles.append(module.register_forward_pre_hook(before))
    try:
        logits = lm.plain(input_ids=tokens).logits
    finally:
        for handle in handles:
            handle.remove()
    return logits[:, -1], [seen[layer] for layer in range(LAYERS)]


def difference(logits: Tensor, batch: Batch) -> Tensor:
    rows = torch.arange(len(logits))
    return logits[rows, batch.answer] - logits[rows, batch.wrong]


def exchanged(own: Tensor, other: Tensor, head: int, first: int = 0) -> Tensor:
    mixed = own.clone()
    mixed[:, first:, head * D_HEAD : (head + 1) * D_HEAD] = other[:, first:, head * D_HEAD : (head + 1) * D_HEAD]
    return mixed


@pytest.mark.parametrize("positions", ["all", "last"])
def test_heads_against_two_runs_by_hand(tiny_lm, given, positions):
    calls = []
    found = head_effects(tiny_lm, given, positions=positions, on_progress=calls.append)
    assert calls == list(range(1, 2 * HEADS * LAYERS + 1))
    expected = torch.zeros(LAYERS, HEADS)
    clean_sum = patch_sum = 0.0
    for batch in given:
        logits, clean = hand(tiny_lm, batch.clean)
        patch_logits, patch = hand(tiny_lm, batch.patch)
        before = difference(logits, batch)
        clean_sum += float(before.sum())
        patch_sum += float(difference(patch_logits, batch).sum())
        for layer in range(LAYERS):
            for head in range(HEADS):
                mixed = exchanged(clean[layer], patch[layer], head, 0 if positions == "all" else -1)
                after, _ = hand(tiny_lm, batch.clean, {layer: mixed})
                expected[layer, head] += (before - difference(after, batch)).sum()
    assert (found.clean, found.patch) == pytest.approx((clean_sum / 3, patch_sum / 3), rel=1e-4)
    assert expected.abs().max() > 0.1
    for head, effect in found.effects.items():
        assert effect == pytest.approx(float(expected[head]) / 3, rel=1e-3, abs=1e-4)


def test_edges_against_the_direct_path_by_hand(tiny_lm, given):
    """The receiver's layer is run with the sender's difference added to its input; only the receiver's part is kept."""
    found = edge_effects(tiny_lm, given)
    assert len(found) == HEADS * HEADS * 3
    sender, receiver = Head(0, 1), Head(2, 3)
    expected = 0.0
    for batch in given:
        logits, clean = hand(tiny_lm, batch.clean)
        _, patch = hand(tiny_lm, batch.patch)
        weight = projections(tiny_lm)[0].weight  # Conv1D: [in, out]
        own = slice(sender.head * D_HEAD, (sender.head + 1) * D_HEAD)
        added = (patch[0] - clean[0])[..., own] @ weight[own]
        block = tiny_lm.plain.transformer.h[2]
        seen = []
        first = block.register_forward_pre_hook(lambda _m, inputs, added=added: (inputs[0] + added, *inputs[1:]))
        second = block.attn.c_proj.register_forward_pre_hook(lambda _m, inputs, seen=seen: seen.append(inputs[0]))
        with torch.no_grad():
            tiny_lm.plain(input_ids=batch.clean)
        first.remove()
        second.remove()
        after, _ = hand(tiny_lm, batch.clean, {2: exchanged(clean[2], seen[0], receiver.head)})
        expected += float((difference(logits, batch) - difference(after, batch)).sum())
    assert found[sender, receiver] == pytest.approx(expected / 3, rel=1e-3, abs=1e-5)
    assert abs(expected) > 1e-4


def test_only_the_asked_edges_and_the_model_left_as_it_was(tiny_lm, given):
    before = tiny_lm.last_logits(given[0].clean)
    calls = []
    found = edge_effects(tiny_lm, given, heads=[Head(0, 0), Head(1, 2), Head(1, 3)], on_progress=calls.append)
    assert set(found) == {(Head(0, 0), Head(1, 2)), (Head(0, 0), Head(1, 3))}
    assert calls == [1, 2, 3, 4]
    assert torch.equal(tiny_lm.last_logits(given[0].clean), before)


def test_any_metric(tiny_lm, given):
    """Twice the metric has twice the effects."""
    double = head_effects(
        tiny_lm, given, lambda logits, batch: {k: 2 * v for k, v in logit_difference(logits, batch).items()}
    )
    single = head_effects(tiny_lm, given)
    assert list(double.effects.values()) == pytest.approx([2 * v for v in single.effects.values()], abs=1e-4)


def test_what_cannot_be_patched(tiny_lm, given):
    lonely = Batch(given[0].clean, None, given[0].answer, None, (0, 1))
    for measure in (head_effects, edge_effects):
        with pytest.raises(UserError, match="give each a patch"):
            measure(tiny_lm, [lonely])
        with pytest.raises(UserError, match="no examples"):
            measure(tiny_lm, [])


def test_matches_are_counted():
    scores = {"a": 3.0, "b": 2.0, "c": 1.0, "d": 0.0}
    result = matched(scores, above_mean(scores), {"a", "c"})
    assert (result.precision, result.recall) == (0.5, 0.5)  # chosen: a, b
    assert result.roc_auc == 0.75  # of the pairs (a, b), (a, d), (c, b), (c, d) one is the wrong way round
    assert result.average_precision == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert matched(scores, set(), set()).roc_auc is None
    with pytest.raises(ValueError, match="no score of z"):
        matched(scores, {"z"}, {"a"})
