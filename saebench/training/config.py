"""What a training run can be told, as YAML has it; defaults are the recipe.

Decisions: a key left out means "let the recipe decide"; `resolve` puts the decision in its place, and the run's
config.yaml keeps it, so that a run continued elsewhere or by later code still trains as it began. `variants` are laid
over `sae`, one SAE each; every member's own config is the one it would have trained with alone. `sites` are laid over
`sae` where a recipe trains on several hook points; the config of one hook point has none left.
"""

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from pydantic import Field, field_validator

from saebench import kernels
from saebench.config import Section
from saebench.errors import UserError
from saebench.kernels import Kernel
from saebench.saes import RULES, Rule, rule_from_data
from saebench.training.rule_config import SECTIONS, AnyRule, RuleConfig


class SAEConfig(Section):
    """The SAE to train."""

    n_latents: int = Field(default=4096, ge=2, description="number of latents")
    rule: AnyRule = Field(
        default=SECTIONS["topk"](name="topk"), description="how latents are selected; `name` and the rule's settings"
    )
    normalise: Literal["none", "layer_norm"] = Field(
        default="none", description="what is done to each activation before: nothing, or layer norm (undone after)"
    )
    lr: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Adam's peak learning rate; none: by n_latents"
    )
    label: str | None = Field(default=None, description="put at the end of the SAE's id, to tell variants apart")

    @field_validator("rule", mode="before")
    @classmethod
    def _rule_is_known(cls, rule: Any) -> Any:
        """A rule without a name is TopK."""
        if isinstance(rule, RuleConfig):
            return rule
        if not isinstance(rule, dict):
            raise ValueError("a rule is a mapping of its `name` and settings, like {name: topk, k: 32}")
        if rule.get("name", "topk") not in tuple(RULES):
            raise ValueError(f"unknown rule; there are {', '.join(RULES)}")
        return {"name": "topk"} | rule

    @field_validator("rule", mode="after")
    @classmethod
    def _rule_is_sound(cls, rule: Any, info: Any) -> Any:
        """Let the rule itself refuse what does not fit the number of latents."""
        n_latents = info.data.get("n_latents")
        if n_latents is not None:
            build_rule(rule).check(1, n_latents)
        return rule


class TrackingConfig(Section):
    """Where metrics go beside metrics.jsonl."""

    tensorboard: bool = Field(default=False, description="write TensorBoard events into the run's folder")
    wandb_project: str | None = Field(default=None, description="Weights & Biases project to log to")


class TrainConfig(Section):
    """One training run: one SAE, or several from one stream of activations."""

    sae: SAEConfig = Field(default=SAEConfig(), description="what to train")
    variants: list[dict[str, Any]] = Field(
        default=[],
        description="several SAEs from one stream: each a mapping laid over `sae`; a `rule` replaces it whole",
    )
    sites: dict[str, dict[str, Any]] = Field(
        default={},
        description="settings of some hook points: a name or pattern (`*.hook_mlp_out`) → a mapping laid over `sae`; "
        "the last one that fits counts, a `rule` replaces it whole",
    )
    tokens: int = Field(default=5_000_000, ge=1, description="activations to train on, rounded up to whole batches")
    batch: int = Field(default=2048, ge=1, description="activations per step")
    micro_batch: int | None = Field(
        default=None, ge=1, description="activations per backward pass, to bound memory; none: the whole batch"
    )
    warmup: float = Field(
        default=0.02, ge=0, le=1, description="share of the steps over which the rate rises from zero"
    )
    decay: float = Field(
        default=0.3, ge=0, le=1, description="share of the steps, at the end, over which the rate falls to zero"
    )
    sparsity_warmup: float = Field(
        default=0.1, ge=0, le=1, description="share of the steps over which a penalty on sparsity rises from zero"
    )
    clip: float | None = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="largest norm of the gradient; none: not clipped"
    )
    ring_rows: int = Field(
        default=131_072, ge=1, description="activations held in memory to shuffle among, rounded up to whole batches"
    )
    seed: int = Field(default=0, ge=0, description="seed of the initial weights and of the shuffling")
    log_every: int = Field(default=10, ge=1, description="steps between rows of metrics.jsonl; a row averages them")
    checkpoint_every: int = Field(default=200, ge=1, description="steps between checkpoints, a multiple of log_every")
    device: str = Field(default="auto", description="torch device of the SAEs; auto: cuda where there is one, else cpu")
    kernel: Literal["auto", "reference", "cpu", "triton"] = Field(
        default="auto", description="implementation of the SAE's arithmetic"
    )
    product: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="precision in which the encoder proposes latents (float32 decides); "
        "auto: bfloat16 where the hardware multiplies it faster",
    )
    native: bool | None = Field(
        default=None, description="compiled CPU code instead of torch operators; none: where it can be compiled"
    )
    parallel: Literal["data", "latents"] = Field(
        default="data", description="what torchrun's processes share: each batch, or the SAE's latents; alone: nothing"
    )
    tracking: TrackingConfig = Field(default=TrackingConfig(), description="where metrics go beside metrics.jsonl")

    @field_validator("checkpoint_every", mode="after")
    @classmethod
    def _checkpoints_fall_on_rows(cls, every: int, info: Any) -> int:
        log_every = info.data.get("log_every", 1)
        if every % log_every:
            raise ValueError(f"must be a multiple of log_every = {log_every}")
        return every

    @field_validator("variants", "sites", mode="after")
    @classmethod
    def _overlays_are_saes(cls, overlays: Any, info: Any) -> Any:
        if "sae" in info.data:
            for overlay in overlays.values() if isinstance(overlays, dict) else overlays:
                SAEConfig.model_validate(info.data["sae"].model_dump() | overlay)
        return overlays

    def at(self, hook_point: str) -> "TrainConfig":
        """The config of one hook point."""
        fitting = [settings for pattern, settings in self.sites.items() if fnmatchcase(hook_point, pattern)]
        sae = SAEConfig.model_validate(self.sae.model_dump() | (fitting or [{}])[-1])
        return self.model_copy(update={"sae": sae, "sites": {}})

    def unmatched(self, hook_points: Sequence[str]) -> list[str]:
        """The patterns of `sites` that fit none of the hook points."""
        return [pattern for pattern in self.sites if not any(fnmatchcase(name, pattern) for name in hook_points)]

    def members(self) -> list["TrainConfig"]:
        """The config of each SAE of the run, as if it were trained alone."""
        base = self.sae.model_dump()
        saes = [SAEConfig.model_validate(base | variant) for variant in self.variants] or [self.sae]
        return [self.model_copy(update={"sae": sae, "variants": []}) for sae in saes]

    @property
    def steps(self) -> int:
        """Number of optimiser steps."""
        return math.ceil(self.tokens / self.batch)

    def resolve(self, d_model: int) -> "TrainConfig":
        """The same (of one SAE) with every open decision made. Raises UserError for a device that is not there."""
        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            chosen = kernels.choose(device)
        except RuntimeError as error:
            raise UserError(f"train.device: {str(error).splitlines()[0]}") from None
        kernel = chosen.backend if self.kernel == "auto" else self.kernel
        product = self.product
        if product == "auto":
            product = "float32" if kernel == "reference" else chosen.product  # type: ignore[assignment]
        sae = {
            "rule": self.sae.rule.resolve(d_model, self.tokens),
            "lr": self.sae.lr or default_lr(self.sae.n_latents),
        }
        return self.model_copy(
            update={
                "sae": self.sae.model_copy(update=sae),
                "device": device,
                "micro_batch": min(self.micro_batch or self.batch, self.batch),
                "kernel": kernel,
                "product": product,
                "native": kernel == chosen.backend and chosen.native if self.native is None else self.native,
            }
        )

    def build_kernel(self) -> Kernel:
        """The kernel of a resolved config. Raises UserError for a combination that does not exist."""
        try:
            return Kernel(self.kernel, self.product, bool(self.native))
        except ValueError as error:
            raise UserError(f"train config: {error}") from None


def build_rule(config: RuleConfig) -> Rule:
    """The rule of a rule's config; settings left open take the rule's own defaults. Raises ValueError."""
    return rule_from_data(config.model_dump(exclude_none=True))


def default_lr(n_latents: int) -> float:
    """Peak rate ∝ 1/√n_latents (Gao et al. 2024): 2e-4 at 16,384 latents in long runs, five times that here.

    The factor is measured on runs of a few million tokens of the demo model.
    """
    return 1e-3 * math.sqrt(2**14 / n_latents)
