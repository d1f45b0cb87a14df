"""Effects, edges and faithfulness against finite differences, the chain rule and plain runs of the model."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from saebench.circuits.ablation import Judge, complement, nothing
from saebench.circuits.batches import Batch, logit_difference, single, total
from saebench.circuits.decomposition import Coordinates, Features, Tokens, written
from saebench.circuits.edges import EdgeSums, edge_sums
from saebench.circuits.effects import NodeSums, exact_effects, node_sums, split_key, written_by
from saebench.circuits.states import activations, gradients_along, gradients_at_clean, means_of, patch_of, taken
from saebench.errors import UserError
from saebench.lm import LanguageModel
from saebench.saes import SAE, Gated, JumpReLU, ReLU, TopK
from saebench.saes.rule import Rule

POINTS = [f"blocks.{layer}.hook_{kind}" for layer in range(3) for kind in ("attn_out", "mlp_out", "resid_post")]
WIDTH, LATENTS = 32, 48


def sae(rule: Rule, seed: int, normalise: str = "none") -> SAE:
    made = SAE.create(WIDTH, LATENTS, rule, seed, normalise)  # type: ignore[arg-type]
    torch.manual_seed(seed)
    with torch.no_grad():
        made.b_dec.normal_(0, 0.1)
        made.b_enc.normal_(0, 0.1)
        made.W_enc.add_(0.1 * torch.randn_like(made.W_enc))
        for own in made.rule_tensors().values():
            own.copy_(0.2 * torch.randn_like(own))
    return made.eval()


@pytest.fixture(scope="module", params=["topk", "relu", "gated", "jumprelu", "layer_norm"])
def features(request: pytest.FixtureRequest) -> list[Features]:
    rules = {"topk": TopK(k=6), "relu": ReLU(), "gated": Gated(), "jumprelu": JumpReLU(), "layer_norm": TopK(k=6)}
    normalise = "layer_norm" if request.param == "layer_norm" else "none"
    return [Features(name, sae(rules[request.param], i, normalise)) for i, name in enumerate(POINTS)]


@pytest.fixture(scope="module")
def batch(tiny_lm: LanguageModel) -> Batch:
    torch.manual_seed(1)
    clean = torch.randint(1, tiny_lm.d_vocab, (3, 7))
    patch = clean.clone()
    patch[:, [2, 5]] = torch.randint(1, tiny_lm.d_vocab, (3, 2))
    return Batch(clean, patch, torch.tensor([5, 6, 7]), torch.tensor([8, 9, 10]), (0, 1, 2))


def state(lm: LanguageModel, sites: list, batch: Batch, reference: str = "pairs"):
    clean, patched = (activations(lm, tokens, sites) for tokens in (batch.clean, batch.patch))
    means = means_of(lm, [batch], sites)
    parts = {s.hook_point: s.split(clean[s.hook_point], batch.clean.flatten()) for s in sites}
    patches = {
        s.hook_point: patch_of(s, parts[s.hook_point], batch, patched[s.hook_point], means[s.hook_point], reference)
        for s in sites
    }
    return clean, patched, parts, patches


def value(lm: LanguageModel, batch: Batch, changes: dict[str, Callable[[Tensor], Tensor]] | None = None) -> float:
    return float(total(logit_difference(lm.last_logits(batch.clean, changes), batch)).double().sum())


def replaced(x: Tensor, batch: Batch) -> Callable[[Tensor], Tensor]:
    return lambda _: x.view(len(batch), batch.clean.shape[1], -1)


def test_what_is_taken_apart_is_whole(tiny_lm: LanguageModel, features: list[Features], batch: Batch):
    clean, patched, parts, patches = state(tiny_lm, features, batch)
    for site in features:
        own = parts[site.hook_point]
        assert torch.allclose(
            written(own.codes, site.directions) + own.error + site.base, clean[site.hook_point], atol=1e-5
        )
        gone = taken(site, patches[site.hook_point])
        assert torch.allclose(gone, clean[site.hook_point] - patched[site.hook_point], atol=1e-5)


@pytest.mark.parametrize("by_position", [False, True])
def test_effects_are_derivatives(tiny_lm: LanguageModel, features: list[Features], batch: Batch, by_position: bool):
    clean, _, parts, patches = state(tiny_lm, features, batch)
    gradients, _ = gradients_at_clean(tiny_lm, batch, features, logit_difference)
    for site in (features[1], features[5], features[6]):
        name = site.hook_point
        sums = node_sums(site, parts[name], patches[name], gradients[name], 7, by_position)
        for key, effect in list(zip(sums.keys.tolist(), sums.effect, strict=True))[::7]:
            step = 1e-2 * written_by(site, patches[name], [key], 7, by_position)
            up, down = (value(tiny_lm, batch, {name: replaced(clean[name] + s * step, batch)}) for s in (1, -1))
            assert (up - down) / 2e-2 == pytest.approx(effect, rel=2e-2, abs=2e-3)


def test_effects_add_up_to_the_whole_patch(tiny_lm: LanguageModel, features: list[Features], batch: Batch):
    clean, patched, parts, patches = state(tiny_lm, features, batch)
    site = features[3]
    name = site.hook_point
    gradient = gradients_along(tiny_lm, batch, site, clean[name], taken(site, patches[name]), logit_difference)
    by_ig = node_sums(site, parts[name], patches[name], gradient, 7, False).effect.sum()
    run = value(tiny_lm, batch) - value(tiny_lm, batch, {name: replaced(patched[name], batch)})
    assert by_ig == pytest.approx(run, rel=0.1)  # completeness of integrated gradients, up to its 10 steps


def test_exact_effects_are_runs_without_the_node(tiny_lm: LanguageModel, features: list[Features], batch: Batch):
    clean, patched, parts, patches = state(tiny_lm, features, batch)
    site = features[4]
    name = site.hook_point
    sums = node_sums(site, parts[name], patches[name], torch.ones_like(clean[name]), 7, False)
    keys = [int(sums.keys[0]), int(sums.keys[3]), site.n_nodes]
    found = exact_effects(tiny_lm, batch, site, clean[name], patches[name], keys, logit_difference, False)
    one, other = (
        site.split(x, tokens.flatten()) for x, tokens in ((clean[name], batch.clean), (patched[name], batch.patch))
    )
    for key, effect in zip(keys, found, strict=True):
        f, g = one.codes.to_dense(), other.codes.to_dense()
        if key == site.n_nodes:
            x = clean[name] - one.error + other.error
        else:
            x = clean[name] - (f[:, key] - g[:, key])[:, None] * site.directions[key]
        assert effect == pytest.approx(
            value(tiny_lm, batch) - value(tiny_lm, batch, {name: replaced(x, batch)}), abs=1e-4
        )


@pytest.mark.parametrize("by_position", [False, True])
@pytest.mark.parametrize("reference", ["pairs", "zero", "mean"])
def test_edges_out_of_a_node_add_up_to_its_effect(
    tiny_lm: LanguageModel, features: list[Features], batch: Batch, by_position: bool, reference: str
):
    sites = [Tokens("hook_embed", tiny_lm.bridge.W_E), *features]
    _, _, parts, patches = state(tiny_lm, sites, batch, reference)
    gradients, _ = gradients_at_clean(tiny_lm, batch, sites, logit_difference)
    clean_nodes = {
        s.hook_point: node_sums(s, parts[s.hook_point], patches[s.hook_point], gradients[s.hook_point], 7, by_position)
        for s in sites
    }
    kept = {name: torch.from_numpy(sums.keys) for name, sums in clean_nodes.items()}
    if reference != "pairs":  # then the nodes of the clean prompts are not all among those that patching changes
        assert all(len(keys) for keys in kept.values())
    edges = edge_sums(tiny_lm, batch, sites, parts, patches, gradients, kept, logit_difference, by_position)
    n = sum(map(len, kept.values()))
    out = np.bincount(edges.source, edges.weight, n)
    effects = np.concatenate([clean_nodes[s.hook_point].effect for s in sites])
    assert np.allclose(out, effects, rtol=1e-3, atol=1e-3 * np.abs(effects).max())
    assert edges.source.max() < n <= edges.target.max() < n + 2


def test_all_nodes_are_the_model_and_none_are_the_means(tiny_lm: LanguageModel, features: list[Features], batch: Batch):
    means = means_of(tiny_lm, [batch], features)
    judge = Judge.of(tiny_lm, [batch], features, means, logit_difference)
    whole = complement(nothing(features, means))
    assert judge.faithfulness(whole) == pytest.approx(1, abs=1e-4)
    assert judge.faithfulness(nothing(features, means)) == pytest.approx(0, abs=1e-4)
    assert judge.all == pytest.approx(value(tiny_lm, batch) / 3, abs=1e-4)


def test_the_empty_circuit_has_every_site_at_its_mean(tiny_lm: LanguageModel, batch: Batch):
    sites = [Coordinates(name, WIDTH) for name in POINTS]
    means = means_of(tiny_lm, [batch], sites, positions=7)
    judge = Judge.of(tiny_lm, [batch], sites, means, logit_difference)
    found = activations(tiny_lm, batch.patch, sites)
    last = found[POINTS[-1]].view(3, 7, WIDTH).mean(0, keepdim=True).expand(3, -1, -1)
    assert judge.none == pytest.approx(value(tiny_lm, batch, {POINTS[-1]: lambda _: last}) / 3, abs=1e-4)


def test_heads_are_groups_of_coordinates(tiny_lm: LanguageModel, batch: Batch):
    site = Coordinates("blocks.1.attn.hook_z", WIDTH, WIDTH // 4)
    clean, patched, _parts, patches = state(tiny_lm, [site], batch)
    name = site.hook_point
    effects = exact_effects(tiny_lm, batch, site, clean[name], patches[name], [0, 1, 2, 3], logit_difference, False)
    for head in range(4):
        x = clean[name].clone()
        x[:, head * 8 : head * 8 + 8] = patched[name][:, head * 8 : head * 8 + 8]
        run = value(tiny_lm, batch) - value(tiny_lm, batch, {name: replaced(x, batch)})
        assert effects[head] == pytest.approx(run, abs=1e-4)


def test_sums_of_parts_are_sums_of_the_whole():
    parts = [
        NodeSums(np.array([1, 4]), np.array([1.0, 2.0]), np.array([3.0, 4.0])),
        NodeSums(np.array([0, 4]), np.array([5.0, 6.0]), np.array([7.0, 8.0])),
    ]
    merged = NodeSums.merged(parts)
    assert merged.keys.tolist() == [0, 1, 4]
    assert merged.effect.tolist() == [5, 1, 8]
    assert merged.activation.tolist() == [7, 3, 12]
    edges = EdgeSums.merged([EdgeSums(np.array([0, 1]), np.array([2, 2]), np.array([1.0, 2.0]))] * 2, 3)
    assert (edges.source.tolist(), edges.target.tolist(), edges.weight.tolist()) == ([0, 1], [2, 2], [2, 4])
    site = Coordinates("x", 4)
    assert [split_key(site, key, True) for key in (0, 4, 5, 9)] == [(0, 0), (4, 0), (0, 1), (4, 1)]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (single(lambda logits, _: torch.zeros(len(logits))), "does not depend on any site"),
        (single(lambda logits, _: logits[:, 0] * torch.nan), "not finite"),
    ],
)
def test_metrics_that_say_nothing_are_refused(tiny_lm: LanguageModel, batch: Batch, metric, message: str):
    with pytest.raises(UserError, match=message):
        gradients_at_clean(tiny_lm, batch, [Coordinates(POINTS[0], WIDTH)], metric)
