"""What a training run can be told, as YAML has it; defaults are the recipe.

Decisions: a key left out means "let the recipe decide"; `resolve` puts the decision in its place, and the run's
config.yaml keeps it, so that a run continued elsewhere or by later code still trains as it began.
"""

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from saebench import kernels
from saebench.config import Section
from saebench.errors import UserError
from saebench.kernels import Kernel
from saebench.saes import TopK


class TopKConfig(Section):
    """The TopK rule (Gao et al. 2024)."""

    name: Literal["topk"] = "topk"
    k: int = Field(default=32, ge=1, description="active latents per token")
    k_aux: int | None = Field(
        default=None,
        ge=1,
        description="dead latents per token trained on the residual; none: half of the activations' width",
    )
    aux_weight: float = Field(
        default=1 / 32, ge=0, allow_inf_nan=False, description="weight of that AuxK term in the loss; 0 switches it off"
    )
    dead_after: int | None = Field(
        default=None,
        ge=1,
        description="tokens without firing after which a latent is dead; none: 10 million, at most 1/50 of the run",
    )


class SAEConfig(Section):
    """The SAE to train."""

    n_latents: int = Field(default=4096, ge=2, description="number of latents")
    rule: TopKConfig = Field(default=TopKConfig(), description="how latents are selected")

    @model_validator(mode="after")
    def _k_fits(self) -> Self:
        if self.rule.k >= self.n_latents:
            raise ValueError(f"rule.k = {self.rule.k} must be smaller than n_latents = {self.n_latents}")
        return self


class TrainConfig(Section):
    """One training run."""

    sae: SAEConfig = Field(default=SAEConfig(), description="what to train")
    tokens: int = Field(default=5_000_000, ge=1, description="activations to train on, rounded up to whole batches")
    batch: int = Field(default=2048, ge=1, description="activations per step")
    lr: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Adam's peak learning rate; none: by n_latents and the length of the run, see `default_lr`",
    )
    warmup: float = Field(
        default=0.02, ge=0, le=1, description="share of the steps over which the rate rises from zero"
    )
    decay: float = Field(
        default=0.3, ge=0, le=1, description="share of the steps, at the end, over which the rate falls to zero"
    )
    ring_rows: int = Field(
        default=131_072, ge=1, description="activations held in memory to shuffle among, rounded up to whole batches"
    )
    seed: int = Field(default=0, ge=0, description="seed of the initial weights and of the shuffling")
    log_every: int = Field(default=10, ge=1, description="steps between rows of metrics.jsonl; a row averages them")
    checkpoint_every: int = Field(default=200, ge=1, description="steps between checkpoints, a multiple of log_every")
    kernel: Literal["auto", "reference", "cpu"] = Field(
        default="auto", description="implementation of the SAE's arithmetic"
    )
    product: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="precision in which the encoder proposes latents (float32 decides); "
        "auto: bfloat16 where the CPU has AMX",
    )

    @model_validator(mode="after")
    def _checkpoints_fall_on_rows(self) -> Self:
        if self.checkpoint_every % self.log_every:
            raise ValueError(
                f"checkpoint_every = {self.checkpoint_every} must be a multiple of log_every = {self.log_every}"
            )
        return self

    @property
    def steps(self) -> int:
        """Number of optimiser steps."""
        return math.ceil(self.tokens / self.batch)

    def resolve(self, d_model: int) -> "TrainConfig":
        """The same with every open decision made."""
        rule = self.sae.rule
        rule = rule.model_copy(
            update={
                "k_aux": rule.k_aux or max(d_model // 2, 1),
                "dead_after": rule.dead_after or max(1, min(10_000_000, self.tokens // 50)),
            }
        )
        chosen = kernels.choose("cpu")
        kernel = chosen.backend if self.kernel == "auto" else self.kernel
        product = self.product
        if product == "auto":
            product = "float32" if kernel == "reference" else chosen.product  # type: ignore[assignment]
        return self.model_copy(
            update={
                "sae": self.sae.model_copy(update={"rule": rule}),
                "lr": self.lr or default_lr(self.sae.n_latents),
                "kernel": kernel,
                "product": product,
            }
        )

    def build_kernel(self) -> Kernel:
        """The kernel of a resolved config. Raises UserError for a combination that does not exist."""
        try:
            return Kernel(self.kernel, self.product)
        except ValueError as error:
            raise UserError(f"train config: {error}") from None

    def build_rule(self) -> TopK:
        """The rule of a resolved config."""
        return TopK(**self.sae.rule.model_dump(exclude={"name"}))


def default_lr(n_latents: int) -> float:
    """Peak rate ∝ 1/√n_latents (Gao et al. 2024): 2e-4 at 16,384 latents in long runs, five times that here.

    The factor is measured on runs of a few million tokens of the demo model.
    """
    return 1e-3 * math.sqrt(2**14 / n_latents)
