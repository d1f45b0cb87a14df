"""Baselines against sums by hand on transformers' own modules."""

from pathlib import Path

import pytest
import torch

from saebench.config import CorpusConfig
from saebench.corpus import open_corpus
from saebench.errors import UserError
from saebench.interventions.baselines import RMUConfig, ablated, difference_of_means, rmu
from saebench.interventions.baselines.rmu import steering_vector

HOOK = "blocks.1.hook_resid_post"
CONFIG = RMUConfig(layer=2, blocks=2, c=3.0, alpha=2.0, lr=3e-3, steps=40, batch=3, seed=1)


@pytest.fixture
def halves(tiny_lm, texts):
    blocks = list(open_corpus(CorpusConfig(name=str(texts)), tiny_lm.tokenizer, 32).blocks(4))
    return blocks[::2], blocks[1::2]


def mean(lm, blocks) -> torch.Tensor:
    rows = [
        lm.activations(torch.from_numpy(b.tokens).long(), [HOOK])[HOOK][torch.from_numpy(~b.special)] for b in blocks
    ]
    return torch.cat(rows).double().mean(0)


def test_a_direction_is_the_difference_of_means_and_is_projected_out(tiny_lm, halves):
    forget, retain = halves
    direction = difference_of_means(tiny_lm, HOOK, forget, retain)
    difference = mean(tiny_lm, forget) - mean(tiny_lm, retain)
    torch.testing.assert_close(direction.double(), difference / difference.norm(), atol=1e-5, rtol=1e-5)
    tokens = torch.from_numpy(forget[0].tokens).long()
    special = torch.from_numpy(forget[0].special)
    clean = tiny_lm.activations(tokens, [HOOK])[HOOK]
    for strength in (1.0, 2.5):
        expected = clean.clone()
        for i, j in (~special).nonzero().tolist():
            expected[i, j] -= strength * (clean[i, j] @ direction) * direction
        with ablated(tiny_lm, HOOK, 3 * direction, strength):
            found = tiny_lm.activations(tokens, [HOOK])[HOOK]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(tiny_lm.activations(tokens, [HOOK])[HOOK], clean)
    with pytest.raises(UserError, match="is zero"):
        ablated(tiny_lm, HOOK, torch.zeros(32))
    with pytest.raises(UserError, match="width 8"), ablated(tiny_lm, HOOK, torch.ones(8)):
        tiny_lm.run(tokens)
    with pytest.raises(UserError, match="overflow under this change"), ablated(tiny_lm, HOOK, torch.ones(32), 1e38):
        tiny_lm.run(tokens)
    assert torch.equal(tiny_lm.activations(tokens, [HOOK])[HOOK], clean)
    with pytest.raises(UserError, match="the same at"):
        difference_of_means(tiny_lm, HOOK, forget, forget)


def test_rmu_moves_forget_text_to_its_vector_and_only_changes_the_named_weights(tiny_lm, halves, tmp_path: Path):
    forget, retain = halves
    before = {name: value.clone() for name, value in tiny_lm.plain.state_dict().items()}
    told = []
    changed = rmu(tiny_lm, forget, retain, CONFIG, tmp_path / "unlearned", lambda step, losses: told.append(losses))
    assert [step for step, _ in enumerate(told, 1)] == list(range(1, 41))
    after = changed.plain.state_dict()
    differ = {name for name in before if not torch.equal(before[name], after[name])}
    assert differ == {f"transformer.h.{layer}.mlp.c_proj.weight" for layer in (1, 2)}
    assert all(torch.equal(value, before[name]) for name, value in tiny_lm.plain.state_dict().items())
    assert not any(parameter.requires_grad for parameter in tiny_lm.plain.parameters())

    u = torch.rand(32, generator=torch.Generator().manual_seed(1))
    target, hook = 3.0 * u / u.norm(), "blocks.2.hook_resid_post"
    assert float(steering_vector(32, 1).norm()) == pytest.approx(1)

    def distance(lm, blocks, to) -> float:
        total = [
            (lm.activations(torch.from_numpy(b.tokens).long(), [hook])[hook] - to(b))[torch.from_numpy(~b.special)]
            for b in blocks
        ]
        return float(torch.cat(total).square().mean())

    original = lambda b: tiny_lm.activations(torch.from_numpy(b.tokens).long(), [hook])[hook]  # noqa: E731
    start, end = distance(tiny_lm, forget, lambda _: target), distance(changed, forget, lambda _: target)
    assert end < 0.8 * start
    total = [losses.forget + CONFIG.alpha * losses.retain for losses in told]
    assert sum(total[-10:]) < sum(total[:10])
    assert distance(changed, retain, original) < distance(changed, forget, original)
    again = rmu(tiny_lm, forget, retain, CONFIG, tmp_path / "again")
    assert again.sha256 == changed.sha256 != tiny_lm.sha256


def test_the_first_loss_is_the_formula(tiny_lm, halves, tmp_path: Path):
    """One step over all of the text: the losses told are those of the untouched model."""
    forget, retain = halves
    n = sum(map(len, forget))
    config = CONFIG.model_copy(update={"steps": 1, "batch": n})
    told = []
    rmu(tiny_lm, forget, retain, config, tmp_path / "one", lambda _, losses: told.append(losses))
    u = torch.rand(32, generator=torch.Generator().manual_seed(1))
    target, hook = 3.0 * u / u.norm(), "blocks.2.hook_resid_post"
    rows = torch.cat(
        [
            tiny_lm.activations(torch.from_numpy(b.tokens).long(), [hook])[hook][torch.from_numpy(~b.special)]
            for b in forget
        ]
    )
    assert told[0].forget == pytest.approx(float((rows - target).square().mean()), rel=1e-4)
    assert told[0].retain == pytest.approx(0, abs=1e-8)


def test_what_rmu_cannot_do_is_said(tiny_lm, halves, tmp_path: Path):
    forget, retain = halves
    with pytest.raises(UserError, match="has 3 blocks"):
        rmu(tiny_lm, forget, retain, RMUConfig(), tmp_path / "x")
    with pytest.raises(UserError, match="forget text has no tokens"):
        rmu(tiny_lm, [], retain, CONFIG, tmp_path / "x")
    with pytest.raises(UserError, match="exists"):
        rmu(tiny_lm, forget, retain, CONFIG, tmp_path)
    assert not (tmp_path / "x").exists()
