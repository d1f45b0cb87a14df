"""Activations taken apart: what the nodes of a site hold, and what they write.

Every kind of node is a dictionary that splits an activation into x = base + codes · directions + error:

- `Features`: an SAE; the error is what it does not reconstruct, and is a node itself.
- `Tokens`: the embedding; a latent for each token of the vocabulary.
- `Coordinates`: each coordinate of the activation by itself, or groups of them (attention heads); nothing is left over.

Decisions: codes are in the activation's own scale, so that writing is linear: codes of an SAE that reads layer-normed
activations are multiplied by each token's deviation. The base is what all tokens share (b_dec); what differs from token
to token without being a latent (the mean that layer norm takes away) belongs to the error.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench import kernels
from saebench.kernels import SparseCodes
from saebench.saes import SAE
from saebench.saes.layer_norm import deviation, normalise


@dataclass(frozen=True)
class Parts:
    """Activations taken apart."""

    codes: SparseCodes
    error: Float[Tensor, "tokens width"]


class Dictionary(Protocol):
    """How the activations of one site are taken apart."""

    hook_point: str
    n_nodes: int
    """Number of nodes without the error's."""
    directions: Float[Tensor, "n_latents width"]
    """What each latent writes at activation 1."""
    base: Float[Tensor, " width"]
    """What is there without any latent and error."""
    leaves_error: bool
    """Whether there is an error to speak of."""

    def split(self, x: Float[Tensor, "tokens width"], ids: Int[Tensor, " tokens"]) -> Parts:
        """Take activations apart; `ids` are the tokens themselves."""
        ...

    def nodes(self, latents: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """The node of each latent."""
        ...

    def reading(self, x: Float[Tensor, "tokens width"], weights: SparseCodes) -> Float[Tensor, "tokens width"]:
        """Σ weight · ∂code/∂x over entries that are active on x: the gradient of a weighted sum of codes."""
        ...


class Features:
    """The features of an SAE."""

    leaves_error = True

    def __init__(self, hook_point: str, sae: SAE) -> None:
        self.hook_point = hook_point
        self.sae = sae
        self.n_nodes = sae.n_latents
        self.directions = sae.W_dec.detach().float()
        normed = sae.normalise == "layer_norm"
        self.base = torch.zeros_like(sae.b_dec.detach().float()) if normed else sae.b_dec.detach().float()
        self._slope = sae.rule.slope(sae).detach().float()

    @torch.no_grad()
    def split(self, x: Float[Tensor, "tokens width"], ids: Int[Tensor, " tokens"]) -> Parts:
        """The SAE's codes, and what it does not reconstruct."""
        del ids
        x = x.float()
        codes = self.sae.encode(x)
        codes = codes.with_values(codes.values.float())
        if self.sae.normalise == "layer_norm":
            codes = codes.with_values(codes.values * deviation(x)[codes.tokens.long(), 0])
        return Parts(codes, x - written(codes, self.directions) - self.base)

    def nodes(self, latents: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """A latent is a node."""
        return latents

    def reading(self, x: Float[Tensor, "tokens width"], weights: SparseCodes) -> Float[Tensor, "tokens width"]:
        """Rows of the encoder, through layer norm where the SAE reads that."""
        rows = written(weights, self._slope)
        if self.sae.normalise != "layer_norm":
            return rows
        own = weights.values * self.sae.b_enc.detach().float()[weights.latents.long()]
        biases = torch.zeros(len(weights)).index_add(0, weights.tokens.long(), own)
        with torch.enable_grad():
            x = x.detach().float().requires_grad_()
            value = (rows * (normalise(x) - self.sae.b_dec.detach())).sum(1) + biases
            return torch.autograd.grad((value * deviation(x)[:, 0]).sum(), x)[0]


class Tokens:
    """The input tokens, as the embedding gives them."""

    leaves_error = False

    def __init__(self, hook_point: str, embedding: Float[Tensor, "vocab width"]) -> None:
        self.hook_point = hook_point
        self.n_nodes = len(embedding)
        self.directions = embedding.detach().float()
        self.base = torch.zeros_like(self.directions[0])

    @torch.no_grad()
    def split(self, x: Float[Tensor, "tokens width"], ids: Int[Tensor, " tokens"]) -> Parts:
        """One latent of activation 1 for each token; an embedding that is more than a table leaves an error."""
        offsets = torch.arange(len(ids) + 1, device=ids.device)
        codes = SparseCodes(torch.ones(len(ids), device=x.device), ids.int(), offsets, self.n_nodes)
        return Parts(codes, x.float() - self.directions[ids.long()])

    def nodes(self, latents: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """A token of the vocabulary is a node."""
        return latents

    def reading(self, x: Float[Tensor, "tokens width"], weights: SparseCodes) -> Float[Tensor, "tokens width"]:
        """Which token it is depends on no activation."""
        del weights
        return torch.zeros_like(x, dtype=torch.float32)


class Coordinates:
    """Each coordinate by itself, or `group` neighbouring ones as a node (the width of an attention head)."""

    leaves_error = False

    def __init__(self, hook_point: str, width: int, group: int = 1) -> None:
        self.hook_point = hook_point
        self.group = group
        self.n_nodes = width // group
        self.directions = torch.eye(width)
        self.base = torch.zeros(width)

    @torch.no_grad()
    def split(self, x: Float[Tensor, "tokens width"], ids: Int[Tensor, " tokens"]) -> Parts:
        """Every coordinate is a latent of its own and always active."""
        del ids
        n, width = x.shape
        latents = torch.arange(width, dtype=torch.int32, device=x.device).repeat(n)
        offsets = torch.arange(n + 1, device=x.device) * width
        return Parts(
            SparseCodes(x.float().flatten(), latents, offsets, width), torch.zeros_like(x, dtype=torch.float32)
        )

    def nodes(self, latents: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """The group that a coordinate is in."""
        return latents // self.group

    def reading(self, x: Float[Tensor, "tokens width"], weights: SparseCodes) -> Float[Tensor, "tokens width"]:
        """The coordinates themselves."""
        del x
        return written(weights, self.directions)


def written(codes: SparseCodes, directions: Float[Tensor, "n_latents width"]) -> Float[Tensor, "tokens width"]:
    """codes · directions: what codes write, differentiable in their values."""
    return kernels.decode(codes, directions, directions.new_zeros(directions.shape[1]))


def values_gradient(
    codes: SparseCodes, directions: Float[Tensor, "n_latents width"], gradient: Float[Tensor, "tokens width"]
) -> Float[Tensor, " nnz"]:
    """The gradient of every entry of codes, given that of what they write: gradient · direction, entry by entry."""
    with torch.enable_grad():
        values = codes.values.detach().requires_grad_()
        out = written(codes.with_values(values), directions)
        return torch.autograd.grad(out, values, gradient.float())[0]
