"""A small GPT-2 that knows every fact by heart, in a folder that every command can open.

Decisions: transformers' own GPT-2, as the demo model is, so that the result is an ordinary model: `load_lm`, `harvest`,
`index` and fine-tuning take it as they take any other. The rate falls to zero, so that the last facts settle.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from saebench.config import Section
from saebench.errors import UserError
from saebench.interventions.facts.facts import LENGTH, Facts
from saebench.lm import LanguageModel, load_lm

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

CHECK_EVERY = 25
WARMUP = 50
DECAY = 0.5
"""Share of the steps, at the end, over which the rate falls to zero."""


class FactModelConfig(Section):
    """The model and how long it may learn."""

    layers: int = Field(2, ge=2, description="transformer blocks")
    width: int = Field(128, ge=8, description="of the residual stream")
    heads: int = Field(4, ge=1, description="attention heads of each block")
    batch: int = Field(128, ge=1, description="contexts of a step")
    lr: float = Field(4e-3, gt=0, description="AdamW's peak rate")
    weight_decay: float = Field(0.1, ge=0, description="AdamW's")
    steps: int = Field(500, ge=1, description="optimiser steps; an error if some fact is not known after them")
    seed: int = Field(0, ge=0, description="of the initial weights")


Progress = Callable[[int, float], None]
"""(steps done, share of the facts that are right)."""


def train_fact_model(
    facts: Facts, config: FactModelConfig, folder: Path, on_progress: Progress = lambda _, __: None
) -> LanguageModel:
    """Train a model on all facts and the neutral text; it is left in `folder` in Hugging Face layout.

    Raises:
        UserError: it does not know every fact after `config.steps`.
    """
    torch.manual_seed(config.seed)
    from transformers import GPT2Config, GPT2LMHeadModel  # slow to import, and it brings triton

    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(facts.words), n_positions=LENGTH + 3, n_embd=config.width, n_layer=config.layers,
            n_head=config.heads, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip
    tokens = torch.from_numpy(facts.all).long()
    known = tokens[: len(facts.forget) + len(facts.keep)]
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay, betas=(0.9, 0.98))
    right = 0.0
    for step in range(config.steps):
        for group in optimiser.param_groups:
            group["lr"] = config.lr * min(1.0, (step + 1) / WARMUP, (config.steps - step) / (DECAY * config.steps))
        rows = tokens[torch.randint(len(tokens), (config.batch,))]
        logits = model(input_ids=rows, use_cache=False).logits[:, :-1]
        optimiser.zero_grad()
        cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()).backward()
        optimiser.step()
        if (step + 1) % CHECK_EVERY == 0 or step + 1 == config.steps:
            right = _share_right(model, known)
            on_progress(step + 1, right)
    if right < 1:
        raise UserError(
            f"after {config.steps} steps the model knows {right:.1%} of the facts; allow more steps, or a wider model"
        )
    model.save_pretrained(folder)
    facts.tokenizer().save_pretrained(folder)
    return load_lm(str(folder), precision="float32")


@torch.no_grad()
def _share_right(model: "GPT2LMHeadModel", known: Int[Tensor, "facts 5"]) -> float:
    """Of how many facts the value is the likeliest word."""
    logits = model(input_ids=known[:, :-1], use_cache=False, logits_to_keep=1).logits[:, -1]
    return float((logits.argmax(-1) == known[:, -1]).float().mean())
