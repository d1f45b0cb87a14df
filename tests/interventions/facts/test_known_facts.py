"""Known facts: what the sets promise, and that unlearning one of them works, on a small version."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from saebench.errors import UserError
from saebench.interventions import ClampActive, Hooked, intervened
from saebench.interventions.baselines import RMUConfig, rmu
from saebench.interventions.choosing import by_frequency, firings_on, random_like
from saebench.interventions.facts import (
    FactModelConfig,
    Facts,
    FactsConfig,
    halves,
    make_facts,
    right,
    sae_config,
    score,
    train_fact_model,
    train_fact_sae,
)
from saebench.interventions.facts.facts import BEGIN, IS
from saebench.interventions.facts.table import spared
from saebench.lm import LanguageModel

CONFIG = FactsConfig(names=5, facts=20, values=8, words=8, followers=2, neutral=40)


@pytest.fixture(scope="module")
def facts() -> Facts:
    return make_facts(CONFIG)


@pytest.fixture(scope="module")
def lm(facts: Facts, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    config = FactModelConfig(width=64, batch=40, steps=500, lr=4e-3)
    return train_fact_model(facts, config, tmp_path_factory.mktemp("facts") / "model")


def test_the_sets_share_everything_but_the_names(facts: Facts):
    words = np.array(facts.words)
    forget, keep = words[facts.forget], words[facts.keep]
    assert (forget[:, 0] == BEGIN).all()
    assert (forget[:, 3] == IS).all()
    assert (keep[:, [0, 3]] == forget[:, [0, 3]]).all()
    assert sorted(forget[:, 4]) == sorted(keep[:, 4])  # the same values, as often
    assert not set(forget[:, 1:3].ravel()) & set(keep[:, 1:3].ravel())
    for rows in (forget, keep):
        assert len({tuple(row[1:3]) for row in rows}) == 20
        assert len(set(rows[:, 4])) == 8
        one_name = [set(rows[rows[:, 1] == name, 4]) for name in set(rows[:, 1])]
        assert max(map(len, one_name)) > 1  # no name alone gives the value away
    assert not set(words[facts.neutral[:, 1:]].ravel()) & set(np.concatenate([forget, keep])[:, 1:].ravel())
    assert np.array_equal(make_facts(CONFIG).all, facts.all)
    cut = halves(facts)
    assert sorted([*cut.seen, *cut.unseen]) == list(range(20))
    with pytest.raises(ValueError, match="at most names² = 25"):
        FactsConfig(names=5, facts=26)


def test_contexts_say_where_every_token_comes_from(facts: Facts, lm: LanguageModel):
    (block,) = facts.contexts(facts.forget)
    for row, source, bounds in zip(block.tokens, block.source, block.bounds, strict=True):
        pieces = [source[a:b].decode() for a, b in pairwise(bounds)]
        assert [piece.strip() for piece in pieces[1:]] == [facts.words[token] for token in row[1:]]
        assert pieces[0] == ""
        assert lm.tokenizer(source.decode(), add_special_tokens=False)["input_ids"] == row[1:].tolist()
    assert block.special.sum() == len(facts.forget)


def test_the_model_knows_every_fact_by_the_logits_of_transformers_own(facts: Facts, lm: LanguageModel):
    import torch
    from transformers import AutoModelForCausalLM

    tokens = torch.from_numpy(np.concatenate([facts.forget, facts.keep])).long()
    model = AutoModelForCausalLM.from_pretrained(lm.source)
    with torch.no_grad():
        assert torch.equal(model(tokens[:, :4]).logits[:, -1].argmax(-1), tokens[:, 4])
    assert right(lm, facts, facts.forget).all()
    wrong = facts.forget.copy()
    wrong[:, 4] = np.roll(np.arange(len(facts.words)), 1)[wrong[:, 4]]
    assert not right(lm, facts, wrong).any()


@pytest.fixture(scope="module")
def hooked(facts: Facts, lm: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Hooked:
    hook_point = "blocks.0.hook_resid_pre"
    config = sae_config(n_latents=160, tokens=120_000)
    return Hooked(train_fact_sae(lm, facts, hook_point, config, tmp_path_factory.mktemp("facts") / "sae"), hook_point)


def test_features_forget_one_set_and_keep_the_other(facts: Facts, lm: LanguageModel, hooked: Hooked):
    """Chosen on half of the facts, by counts alone; random ones do nothing of the kind."""
    cut = halves(facts)
    forget = firings_on(lm, hooked, facts.contexts(facts.forget[cut.seen]))
    retain = firings_on(lm, hooked, spared(facts))
    chosen = [candidate.feature for candidate in by_frequency("facts", forget, retain, 20, 0.001)]
    every = firings_on(lm, hooked, facts.contexts(facts.all)).densities
    others = [candidate.feature for candidate in random_like("facts", chosen, every)]
    after = {}
    for name, features in (("chosen", chosen), ("random", others)):
        clamp = ClampActive(sae="facts", feature=tuple(features), activation=-30)
        with intervened(lm, [clamp], {"facts": hooked}):
            after[name] = score(lm, facts, cut)
    assert after["chosen"].forget <= 0.15  # chance is an eighth
    assert after["chosen"].keep >= 0.95
    assert after["random"].forget >= 0.5
    assert score(lm, facts, cut).forget == 1


def test_rmu_forgets_one_set_and_keeps_the_other(facts: Facts, lm: LanguageModel, tmp_path: Path):
    """Of the half that it sees; the other half of so few facts need not follow."""
    cut = halves(facts)
    config = RMUConfig(layer=1, blocks=2, c=80, alpha=15, lr=3e-3, steps=250, batch=20, seed=0)
    seen = list(facts.contexts(facts.forget[cut.seen]))
    after = score(rmu(lm, seen, spared(facts), config, tmp_path / "rmu"), facts, cut)
    assert after.seen <= 0.3
    assert after.keep >= 0.9


def test_a_model_that_does_not_learn_is_an_error(facts: Facts, tmp_path: Path):
    with pytest.raises(UserError, match="after 2 steps the model knows"):
        train_fact_model(facts, FactModelConfig(width=16, steps=2), tmp_path / "model")
    assert not (tmp_path / "model").exists()
