"""Prompts as a model scores them, against transformers' own model, and dreams whose best prompt is known."""

import copy

import pytest
import torch
from torch import Tensor

from saebench.corpus.tokenization import vocabulary
from saebench.errors import UserError
from saebench.interventions import Hooked
from saebench.interventions.dreaming import DreamConfig, Window, dream
from saebench.interventions.dreaming.dream import allowed_tokens, survives
from saebench.interventions.dreaming.epo import Births
from saebench.interventions.dreaming.prompts import Prompts
from saebench.interventions.dreaming.target import Target
from saebench.lm import LanguageModel
from saebench.saes import (
    SAE,
    Archetypal,
    BatchTopK,
    FeatureChoice,
    Gated,
    JumpReLU,
    JumpReLUTanh,
    Matryoshka,
    MutualChoice,
    ReLU,
    Rule,
    TopK,
)  # fmt: skip

POINT = "blocks.1.hook_resid_post"
RULES: dict[str, Rule] = {
    "topk": TopK(20), "archetypal": Archetypal(20), "batchtopk": BatchTopK(20), "mutual": MutualChoice(20),
    "features": FeatureChoice(20, mutual_tokens=0), "matryoshka": Matryoshka(20), "jumprelu": JumpReLU(),
    "jumprelu_tanh": JumpReLUTanh(), "gated": Gated(), "relu": ReLU(),
}  # fmt: skip
SHORT = DreamConfig(tokens=5, iterations=12, population=3, children=12, candidates=64, restart_every=5)


def make_sae(lm: LanguageModel, rule: Rule, normalise: str = "none", width: int | None = None) -> SAE:
    """A random SAE whose thresholds are low enough to fire often."""
    torch.manual_seed(0)
    sae = SAE.create(width or lm.d_model, 64, rule, normalise=normalise)
    with torch.no_grad():
        sae.b_dec.copy_(0.1 * torch.randn(sae.d_in))
        sae.b_enc.copy_(0.1 * torch.randn(64))
        for name, tensor in sae.rule_tensors().items():
            if name in ("threshold", "thresholds", "density"):
                tensor.fill_(0.05)
            elif name in ("r_mag", "b_gate"):
                tensor.copy_(0.2 * torch.randn(64))
    return sae.eval()


def prompts_of(lm: LanguageModel, sae: SAE, point: str = POINT, feature: int = 3) -> Prompts:
    return Prompts(lm, Target(Hooked(sae, point), feature))


def some(lm: LanguageModel, rows: int, n: int = 6) -> Tensor:
    return torch.randint(1, lm.d_vocab, (rows, n), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("begin", [True, False])
def test_scores_and_gradients_equal_differences_on_relaxed_tokens(tiny_lm: LanguageModel, monkeypatch, begin: bool):
    """Everything again in float64, from one-hot rows, through transformers' own model."""
    if not begin:
        monkeypatch.setattr(type(tiny_lm.tokenizer), "bos_token_id", None, raising=False)
    sae, penalty, feature = make_sae(tiny_lm, TopK(20), "layer_norm"), 0.7, 3
    hf = copy.deepcopy(tiny_lm.plain).double()
    rows = hf.get_input_embeddings().weight
    held = {}
    hf.transformer.h[1].register_forward_hook(
        lambda m, i, out: held.update(x=out[0] if isinstance(out, tuple) else out)
    )
    members = some(tiny_lm, 2)

    def losses(one_hot: Tensor) -> tuple[Tensor, Tensor]:
        """(pre-activation, cross-entropy) of one relaxed prompt."""
        read = torch.cat([rows[:1], one_hot @ rows]) if begin else one_hot @ rows
        shares = hf(inputs_embeds=read[None]).logits[0, :-1].log_softmax(-1)
        x = held["x"][0, -1]
        x = (x - x.mean()) / (x.std() + 1e-5)
        t = (x - sae.b_dec.double()) @ sae.W_enc[feature].double() + sae.b_enc[feature].double()
        return t, -(shares * (one_hot if begin else one_hot[1:])).sum(1).mean()

    found = prompts_of(tiny_lm, sae).graded(members, torch.full((2,), penalty))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for member in range(2):
            one_hot = torch.nn.functional.one_hot(members[member], tiny_lm.d_vocab).double()
            t, cross_entropy = losses(one_hot)
            assert float(found.scores.target[member]) == pytest.approx(float(t), abs=1e-4)
            assert float(found.scores.cross_entropy[member]) == pytest.approx(float(cross_entropy), abs=1e-4)
            for position in range(6):
                token = int(torch.randint(tiny_lm.d_vocab, (1,), generator=generator))
                sides = []
                for step in (1e-5, -1e-5):
                    moved = one_hot.clone()
                    moved[position, token] += step
                    t, cross_entropy = losses(moved)
                    sides.append(float(penalty * cross_entropy - t))
                slope = (sides[0] - sides[1]) / 2e-5
                assert float(found.gradient[member, position, token]) == pytest.approx(slope, abs=2e-4, rel=2e-3)


@pytest.mark.parametrize("point", [POINT, "blocks.2.hook_resid_pre", "blocks.1.attn.hook_z", "blocks.1.mlp.hook_post"])
@pytest.mark.parametrize("begin", [True, False])
def test_children_that_share_a_beginning_score_as_whole_prompts(tiny_lm, monkeypatch, point: str, begin: bool):
    if not begin:
        monkeypatch.setattr(type(tiny_lm.tokenizer), "bos_token_id", None, raising=False)
    width = tiny_lm.activations(torch.ones(1, 2, dtype=torch.long), [point])[point].shape[-1]
    prompts, members = prompts_of(tiny_lm, make_sae(tiny_lm, TopK(20), width=width), point), some(tiny_lm, 3)
    parents = prompts.graded(members, torch.ones(3))
    position = torch.arange(6).repeat(3)[torch.randperm(18, generator=torch.Generator().manual_seed(0))]
    births = Births(torch.arange(3).repeat_interleave(6), position, some(tiny_lm, 18, 1)[:, 0])
    found, truth = prompts.children(parents, births), prompts.whole(births.prompts(members))
    for ours, whole in zip((*found, *parents.scores), (*truth, *prompts.whole(members)), strict=True):
        torch.testing.assert_close(ours, whole, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("normalise", ["none", "layer_norm"])
@pytest.mark.parametrize("name", RULES)
def test_what_is_followed_is_the_activation_wherever_there_is_one(tiny_lm: LanguageModel, name: str, normalise: str):
    sae, tokens = make_sae(tiny_lm, RULES[name], normalise), some(tiny_lm, 20)
    x = tiny_lm.activations(tokens, [POINT])[POINT].flatten(0, 1)
    truth = sae.encode(x).to_dense().float()
    feature = int((truth > 0).sum(0).argmax())
    target = Target(Hooked(sae, POINT), feature)
    torch.testing.assert_close(target.activation(x), truth[:, feature])
    fires = truth[:, feature] > 0
    assert bool(fires.any())
    torch.testing.assert_close(target.pre_activation(x)[fires], truth[fires, feature], atol=1e-4, rtol=1e-4)


def embedding_reader(lm: LanguageModel, tokens: list[int]) -> SAE:
    """Features that each read the embedding of one token, before the first block."""
    rows = torch.nn.functional.normalize(lm.embeddings()[tokens], dim=1)
    return SAE(rows.clone(), torch.zeros(len(rows)), rows.clone(), torch.zeros(lm.d_model), TopK(1)).eval()


def test_a_feature_that_reads_one_token_dreams_of_it(tiny_lm: LanguageModel):
    wanted = 77
    sae, point = embedding_reader(tiny_lm, [5, wanted]), "blocks.0.hook_resid_pre"
    found = dream(tiny_lm, Hooked(sae, point), 1, SHORT.model_copy(update={"candidates": 8}), seed=1)
    allowed = allowed_tokens(tiny_lm, vocabulary(tiny_lm.tokenizer))
    every = torch.cat([torch.full((len(allowed), 4), 9), allowed[:, None]], 1)
    truth = prompts_of(tiny_lm, sae, point, 1).whole(every).activation
    assert int(allowed[truth.argmax()]) == found.best.tokens[-1]
    assert found.best.activation == pytest.approx(float(truth.max()), rel=1e-4)


def test_a_dream_says_what_the_sae_says_and_is_the_same_again(tiny_lm: LanguageModel):
    sae, told = make_sae(tiny_lm, TopK(20)), []
    window = Window(some(tiny_lm, 1, 5)[0].tolist(), "a.py", 3, 9, 4.5)
    made = [
        dream(tiny_lm, Hooked(sae, POINT), 3, SHORT, 5, lambda done, note: told.append((done, note)), windows=[window])
        for _ in range(2)
    ]
    assert made[0] == made[1]
    found = made[0]
    assert [done for done, _ in told[:12]] == list(range(1, 13))
    assert told[11][1].startswith("activation ")
    assert (found.corpus, found.provenance["seed"], found.provenance["settings"]["tokens"]) == (None, 5, 5)
    for prompt in (*found.frontier, *found.examples):
        tokens = torch.tensor([[tiny_lm.tokenizer.bos_token_id, *prompt.tokens]])
        x = tiny_lm.activations(tokens, [POINT])[POINT][0, 1:]
        truth = sae.encode(x).to_dense()[:, 3]
        assert prompt.activations == pytest.approx(truth.tolist(), abs=1e-4)
        assert prompt.activation == prompt.activations[-1]
        assert prompt.cross_entropy == pytest.approx(float(tiny_lm.loss(tokens).mean()), abs=1e-4)
        again = tiny_lm.tokenizer(prompt.text, add_special_tokens=False)["input_ids"]
        assert prompt.survives == (again == prompt.tokens)
    order = [(one.cross_entropy, one.activation) for one in found.frontier]
    assert order == sorted(order)
    assert all(one.activation > 0 for one in found.frontier)


def test_tokens_that_merge_do_not_survive(tiny_lm: LanguageModel):
    ids = tiny_lm.tokenizer.get_vocab()
    pair = min(piece for piece in ids if len(piece) == 2 and piece.isascii() and piece.isalpha())
    for tokens, kept in (([ids[pair]], True), ([ids[letter] for letter in pair], False)):
        assert tiny_lm.tokenizer.decode(tokens) == pair
        assert survives(tiny_lm, tokens, pair) is kept


def test_what_cannot_be_dreamt_is_said(tiny_lm: LanguageModel):
    sae = make_sae(tiny_lm, TopK(20))
    hooked = Hooked(sae, POINT)
    with pytest.raises(UserError, match="no feature 64; it has 0 to 63"):
        dream(tiny_lm, hooked, 64, SHORT)
    with pytest.raises(UserError, match="40 tokens and the begin token do not fit the model's context of 32"):
        dream(tiny_lm, hooked, 3, SHORT.model_copy(update={"tokens": 40}))
    with pytest.raises(UserError, match="no hook point"):
        dream(tiny_lm, Hooked(sae, "blocks.9.hook_resid_post"), 3, SHORT)
    with pytest.raises(UserError, match="reads activations of width 16"):
        dream(tiny_lm, Hooked(make_sae(tiny_lm, TopK(20), width=16), POINT), 3, SHORT)
    fresh = SAE.create(tiny_lm.d_model, 64, BatchTopK(8)).eval()
    with pytest.raises(UserError, match="no inference threshold yet"):
        dream(tiny_lm, Hooked(fresh, POINT), 3, SHORT)
    with pytest.raises(UserError, match="holds tokens that this model does not have"):
        dream(tiny_lm, hooked, 3, SHORT, windows=[Window([1, 9999], "a.py", 0, 1, 2.0)])
    with torch.no_grad():
        sae.b_enc[4] = -1e4
        sae.W_enc[5] = 0
    with pytest.raises(UserError, match=r"fires on none of the .* prompts tried"):
        dream(tiny_lm, hooked, 4, SHORT)
    with pytest.raises(UserError, match="encoder row is zero"):
        dream(tiny_lm, hooked, 5, SHORT)
