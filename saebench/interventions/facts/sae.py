"""An SAE of the fact model's residual stream, trained as every other is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.interventions.facts.facts import Facts
from saebench.lm import LanguageModel
from saebench.saes import SAE
from saebench.training import TrainConfig, train


class FactActivations:
    """The activations of all contexts at a hook point, over and over, each time in another order."""

    def __init__(self, lm: LanguageModel, facts: Facts, hook_point: str) -> None:
        x = lm.activations(torch.from_numpy(facts.all).long(), [hook_point])[hook_point].float()
        self.rows = x[:, 1:].flatten(0, 1)
        self.d_model = self.rows.shape[1]

    def blocks(self, start: int = 0) -> Iterator[Float[Tensor, "rows d_model"]]:
        """All rows, in the order of a block."""
        while True:
            yield self.rows[torch.randperm(len(self.rows), generator=torch.Generator().manual_seed(start))]
            start += 1


def sae_config(n_latents: int = 512, k: int = 3, tokens: int = 400_000) -> TrainConfig:
    """The recipe: BatchTopK with few latents a token, for a token is little but a word at a place; latents count as
    dead soon, for every row comes by soon.
    """
    rule = {"name": "batchtopk", "k": k, "k_aux": 8, "dead_after": 4000}
    sae = {"n_latents": n_latents, "rule": rule, "lr": 1e-3}
    return TrainConfig.model_validate({"sae": sae, "tokens": tokens, "batch": 256, "ring_rows": 2048, "device": "cpu"})


def train_fact_sae(lm: LanguageModel, facts: Facts, hook_point: str, config: TrainConfig, out: Path, **how: Any) -> SAE:
    """Train an SAE on everything that the model reads; `how` goes to `saebench.training.train`.

    Raises:
        UserError: no such hook point, or a config or folder that cannot be trained with or into.
    """
    lm.check_hook_points([hook_point])
    return train(config, FactActivations(lm, facts, hook_point), out, **how)
