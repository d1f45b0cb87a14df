"""Reconstruction on held-out text: FVU, L0, dead latents, and what splicing the SAE in costs the model."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saebench.corpus import Contexts
from saebench.evaluation.moments import Moments
from saebench.lm import LanguageModel
from saebench.saes import SAE


@dataclass(frozen=True)
class Reconstruction:
    """Figures over the non-special tokens of a corpus.

    Attributes:
        tokens: tokens measured.
        fvu: E‖x − x̂‖² / (E‖x‖² − ‖E x‖²), the unexplained share of the variance.
        l0: active latents per token.
        dead: share of the latents that never fired.
        ce: the model's own cross-entropy, nats per token.
        ce_sae: with the reconstruction spliced in.
        ce_zero: with zeros spliced in.
    """

    tokens: int
    fvu: float
    l0: float
    dead: float
    ce: float
    ce_sae: float
    ce_zero: float

    @property
    def ce_recovered(self) -> float:
        """(CE_zero − CE_sae) / (CE_zero − CE): 1 when splicing costs nothing, 0 when it is as bad as zeros."""
        return (self.ce_zero - self.ce_sae) / (self.ce_zero - self.ce)


class _Measured:
    """What an SAE has reconstructed so far, and which latents fired."""

    def __init__(self, sae: SAE) -> None:
        self.sae = sae
        self.moments = Moments(sae.W_dec.shape[1])
        self.active = 0
        self.fired = torch.zeros(len(sae.W_dec), dtype=torch.bool)

    def add(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Take in rows; returns their reconstruction."""
        codes, reconstruction = self.sae.reconstruct(x)
        positive = codes.values > 0
        self.moments.add(x, reconstruction)
        self.active += int(positive.sum())
        self.fired[codes.latents[positive].long()] = True
        return reconstruction


@torch.no_grad()
def evaluate_reconstruction(
    lm: LanguageModel,
    sae: SAE,
    hook_point: str,
    contexts: Iterator[Contexts],
    on_progress: Callable[[int], None] = lambda _: None,
) -> Reconstruction:
    """Measure an SAE on contexts; special positions keep their original activations.

    Cross-entropy counts the predictions whose target is not special. `on_progress` is told the contexts measured.
    """
    lm.check_hook_points([hook_point])
    measured = _Measured(sae)
    losses = torch.zeros(3, dtype=torch.float64)
    targets = done = 0
    for block in contexts:
        tokens: Int[Tensor, "b c"] = torch.from_numpy(block.tokens).long()
        keep: Bool[Tensor, "b c"] = torch.from_numpy(~block.special)

        def reconstruct(value: Tensor, *, hook: object, keep: Tensor = keep) -> Tensor:  # noqa: ARG001
            flat = value.flatten(2).clone()
            flat[keep] = measured.add(flat[keep].float()).to(flat.dtype)
            return flat.view_as(value)

        def zero(value: Tensor, *, hook: object, keep: Tensor = keep) -> Tensor:  # noqa: ARG001
            return value.masked_fill(keep.view(*keep.shape, *[1] * (value.ndim - 2)), 0.0)

        counted = keep[:, 1:]
        for number, hooks in enumerate(([], [(hook_point, reconstruct)], [(hook_point, zero)])):
            losses[number] += lm.loss(tokens, hooks)[counted].double().sum()
        targets += int(counted.sum())
        done += len(block)
        on_progress(done)
    ce, ce_sae, ce_zero = (losses / targets).tolist()
    return Reconstruction(
        tokens=measured.moments.rows,
        fvu=measured.moments.fvu,
        l0=measured.active / measured.moments.rows,
        dead=1 - float(measured.fired.float().mean()),
        ce=ce,
        ce_sae=ce_sae,
        ce_zero=ce_zero,
    )
