"""Several SAEs from one stream, micro-batches, schedules, scaling, prefetching."""

import json
import threading
import time
from collections.abc import Iterator

import pytest
import torch
from pydantic import ValidationError
from test_training import Dictionary, StopError, config

from saebench.errors import UserError
from saebench.saes import SAE
from saebench.training import train, train_all
from saebench.training.prefetch import prefetch
from saebench.training.schedule import sparsity
from saebench.training.state import new_state
from saebench.training.step import step

VARIANTS = [
    {},
    {"n_latents": 96, "rule": {"name": "batchtopk", "k": 4}},
    {"rule": {"name": "gated", "l1_weight": 0.05, "initial_l0": 8}, "lr": 3e-3},
]


def test_members_come_out_as_if_trained_alone(tmp_path):
    together = config(variants=VARIANTS, tokens=10_000)
    seen: list[int] = []
    outs = [tmp_path / str(i) for i in range(3)]
    train_all(together, Dictionary(), outs, lambda index, row: seen.append(index))
    assert seen == [0, 1, 2] * 4
    for index, member in enumerate(together.members()):
        train(member, Dictionary(), tmp_path / "alone" / str(index))
        for name in ("sae.safetensors", "config.json", "config.yaml"):
            alone = tmp_path / "alone" / str(index) / name
            assert (outs[index] / name).read_bytes() == alone.read_bytes()


def test_members_at_different_steps_meet_again(tmp_path):
    """One stopped, one finished, one not begun: all end as in an undisturbed run."""
    members = config(variants=VARIANTS, tokens=15_000).members()
    outs = [tmp_path / str(i) for i in range(3)]
    train(members[0], Dictionary(), outs[0])

    def stop(row: dict) -> None:
        if row["step"] == 50:
            raise StopError

    with pytest.raises(StopError):
        train(members[1], Dictionary(), outs[1], stop)
    train_all(config(variants=VARIANTS, tokens=15_000), Dictionary(), outs)
    train_all(config(variants=VARIANTS, tokens=15_000), Dictionary(), [tmp_path / f"w{i}" for i in range(3)])
    for i in range(3):
        assert (outs[i] / "sae.safetensors").read_bytes() == (tmp_path / f"w{i}" / "sae.safetensors").read_bytes()
        rows = [json.loads(line)["step"] for line in (outs[i] / "metrics.jsonl").read_text().splitlines()]
        assert rows == [10, 20, 30, 40, 50, 60]


def test_settings_of_sites():
    sites = {"*.hook_mlp_out": {"n_latents": 96}, "blocks.1.*": {"rule": {"name": "batchtopk", "k": 2}}}
    several = config(sites=sites)
    assert several.at("blocks.0.hook_resid_post") == config()
    assert several.at("blocks.0.hook_mlp_out").sae.n_latents == 96
    last = several.at("blocks.1.hook_mlp_out")
    assert (last.sae.n_latents, last.sae.rule.name, last.sites) == (config().sae.n_latents, "batchtopk", {})
    assert several.unmatched(["blocks.0.hook_mlp_out"]) == ["blocks.1.*"]
    with pytest.raises(ValidationError, match="kk"):
        config(sites={"*": {"rule": {"name": "topk", "kk": 1}}})


def test_folders_and_members_must_match(tmp_path):
    with pytest.raises(UserError, match="3 SAEs to train need as many different folders, got 2"):
        train_all(config(variants=VARIANTS), Dictionary(), [tmp_path / "a", tmp_path / "b"])


@pytest.mark.parametrize("name", ["topk", "jumprelu", "gated", "relu"])
def test_micro_batches_take_the_same_step(name):
    rule = {"name": name} | ({"k": 3} if name == "topk" else {"initial_l0": 8})
    resolved = config(sae={"n_latents": 64, "rule": rule}, clip=0.01).resolve(32)
    x = next(Dictionary().blocks())[:250]
    states = [new_state(resolved, 32) for _ in range(2)]
    for state, micro in zip(states, (None, 64), strict=True):
        state.scale = 2.0
        for _ in range(3):
            step(state, x, 1e-3, sparsity=0.5, clip=0.01, micro_batch=micro)
    for a, b in zip(states[0].sae.parameters(), states[1].sae.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5)


def test_clipping_bounds_the_gradient(monkeypatch):
    state = new_state(config().resolve(32), 32)
    seen = []
    update = state.optimizer.step
    state.optimizer.step = lambda: (
        seen.append(torch.cat([p.grad.flatten() for p in state.sae.parameters()]).norm().item()),
        update(),
    )
    x = next(Dictionary().blocks())
    step(state, x, 1e-3)
    step(state, x, 1e-3, clip=1e-3)
    assert seen[0] > 2e-3
    assert seen[1] == pytest.approx(1e-3, rel=1e-3)


def test_sparsity_rises_then_stays():
    prices = [sparsity(step, 100, 0.2) for step in range(100)]
    assert prices[:20] == pytest.approx([(i + 1) / 20 for i in range(20)])
    assert prices[20:] == [1.0] * 80
    assert sparsity(0, 100, 0.0) == 1.0


class Scaled(Dictionary):
    """The same activations in other units."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def blocks(self, start: int = 0) -> Iterator[torch.Tensor]:
        for block in super().blocks(start):
            yield block * self.factor


@pytest.mark.parametrize("rule", [{"k": 3}, {"name": "jumprelu", "target_l0": 3.0, "initial_l0": 8}])
def test_units_of_the_activations_do_not_matter(tmp_path, rule):
    """A power of two scales every float exactly, so the SAE must be the same to rounding, in those units."""
    plain = train(config(sae={"n_latents": 64, "rule": rule}), Dictionary(), tmp_path / "a")
    scaled = train(config(sae={"n_latents": 64, "rule": rule}), Scaled(1024.0), tmp_path / "b")
    x = next(Dictionary().blocks(500))
    torch.testing.assert_close(scaled(1024 * x), 1024 * plain(x), rtol=1e-4, atol=1e-1)
    torch.testing.assert_close(scaled.W_dec, plain.W_dec, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scaled.b_dec, 1024 * plain.b_dec, rtol=1e-4, atol=1e-2)
    assert SAE.load(tmp_path / "a").loss(x).fvu < 0.5


def test_layer_normed_activations(tmp_path):
    sae = train(
        config(sae={"n_latents": 64, "rule": {"k": 3}, "normalise": "layer_norm"}), Dictionary(), tmp_path / "a"
    )
    x = next(Dictionary().blocks(500))
    assert sae.normalise == "layer_norm"
    assert (sae(x) - x).square().sum() < 0.3 * (x - x.mean(0)).square().sum()


def test_prefetch_keeps_order_and_bounds():
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    ahead = prefetch(numbers(), depth=2)
    assert next(ahead) == 0
    time.sleep(0.2)
    assert len(made) <= 5
    assert list(ahead) == list(range(1, 100))


def test_prefetch_hands_over_errors_and_ends_its_thread():
    closed = threading.Event()

    def failing() -> Iterator[int]:
        yield 1
        raise UserError("the third disk is gone")

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    ahead = prefetch(failing())
    assert next(ahead) == 1
    with pytest.raises(UserError, match="third disk"):
        next(ahead)
    before = threading.active_count()
    ahead = prefetch(endless())
    next(ahead)
    ahead.close()
    assert closed.is_set()
    assert threading.active_count() == before


def test_items_are_made_while_others_are_used():
    """Two slow halves side by side take about as long as one."""

    def slow() -> Iterator[int]:
        for i in range(10):
            time.sleep(0.05)
            yield i

    begun = time.perf_counter()
    for _ in prefetch(slow()):
        time.sleep(0.05)
    assert time.perf_counter() - begun < 0.85
