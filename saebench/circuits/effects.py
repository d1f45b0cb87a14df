"""Effects of nodes on the metric: by gradients at the clean prompt, along the way to the patched one, or by running.

Decisions: a node's key is its number at its site, the error's is the one behind the last; with positions kept,
position · (n_nodes + 1) + number. Sums over examples are kept by key, only those of nodes that occur.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.circuits.batches import Batch, Metric, total
from saebench.circuits.decomposition import Dictionary, Parts, values_gradient, written
from saebench.circuits.states import Patch
from saebench.errors import UserError
from saebench.lm import LanguageModel


@dataclass(frozen=True)
class NodeSums:
    """Sums over examples for the nodes of one site, keys rising.

    Attributes:
        keys: of the nodes.
        effect: of each on the metric.
        activation: of each, the largest clean one in an example; of errors, the norm.
    """

    keys: Int[np.ndarray, " nodes"]
    effect: Float[np.ndarray, " nodes"]
    activation: Float[np.ndarray, " nodes"]

    @staticmethod
    def merged(parts: "Iterable[NodeSums]") -> "NodeSums":
        """The sums over the examples of all parts."""
        each = list(parts)
        every = np.concatenate([part.keys for part in each])
        keys, at = np.unique(every, return_inverse=True)
        effect, activation = np.zeros(len(keys)), np.zeros(len(keys))
        np.add.at(effect, at, np.concatenate([part.effect for part in each]))
        np.add.at(activation, at, np.concatenate([part.activation for part in each]))
        return NodeSums(keys, effect, activation)


def node_keys(
    site: Dictionary, tokens: Int[Tensor, " n"], latents: Int[Tensor, " n"], context: int, by_position: bool
) -> Int[Tensor, " n"]:
    """The key of each entry's node."""
    keys = site.nodes(latents.long())
    return keys + (tokens.long() % context) * (site.n_nodes + 1) if by_position else keys


def error_keys(site: Dictionary, n_tokens: int, context: int, by_position: bool) -> Int[Tensor, " tokens"]:
    """The key of each token's error node."""
    keys = torch.full((n_tokens,), site.n_nodes)
    return keys + (torch.arange(n_tokens) % context) * (site.n_nodes + 1) if by_position else keys


def split_key(site: Dictionary, key: int, by_position: bool) -> tuple[int, int | None]:
    """(number at the site, position) of a key."""
    return (key % (site.n_nodes + 1), key // (site.n_nodes + 1)) if by_position else (key, None)


def node_sums(
    site: Dictionary,
    clean: Parts,
    patch: Patch,
    gradient: Float[Tensor, "tokens width"],
    context: int,
    by_position: bool,
) -> NodeSums:
    """Effects Δ · gradient of a batch's nodes.

    Raises:
        UserError: effects that are not finite.
    """
    entries = patch.codes.values * values_gradient(patch.codes, site.directions, gradient)
    keys = node_keys(site, patch.codes.tokens, patch.codes.latents, context, by_position)
    errors = (patch.error * gradient).sum(1)
    all_keys = torch.cat([keys, error_keys(site, len(errors), context, by_position)])
    effects = torch.cat([entries, errors]).double()
    if not bool(effects.isfinite().all()):
        raise UserError(f"effects at {site.hook_point} are not finite; look at the model's and the SAE's weights")
    found, at = all_keys.unique(return_inverse=True)
    effect = torch.zeros(len(found), dtype=torch.float64).index_add_(0, at, effects)
    activation = _activation(site, clean, found, context, by_position)
    return NodeSums(found.numpy(), effect.numpy(), activation.numpy())


def _activation(
    site: Dictionary, clean: Parts, found: Int[Tensor, " nodes"], context: int, by_position: bool
) -> Float[Tensor, " nodes"]:
    """For each node the sum over examples of its largest clean activation."""
    n = len(clean.codes) // context
    keys = node_keys(site, clean.codes.tokens, clean.codes.latents, context, by_position)
    keys = torch.cat([keys, error_keys(site, len(clean.error), context, by_position)])
    values = torch.cat([clean.codes.values, clean.error.norm(dim=1)]).double()
    example = torch.cat([clean.codes.tokens.long(), torch.arange(len(clean.error))]) // context
    known = torch.isin(keys, found)
    at = torch.searchsorted(found, keys[known]) + example[known] * len(found)
    largest = torch.zeros(n * len(found), dtype=torch.float64)
    largest.scatter_reduce_(0, at, values[known], "amax")
    return largest.view(n, -1).sum(0)


@torch.no_grad()
def exact_effects(
    lm: LanguageModel,
    batch: Batch,
    site: Dictionary,
    clean: Float[Tensor, "tokens width"],
    patch: Patch,
    keys: Sequence[int],
    metric: Metric,
    by_position: bool,
) -> Float[np.ndarray, " nodes"]:
    """Effects of some nodes by running the model without each: metric(clean) − metric(node patched), summed."""
    context = batch.clean.shape[1]
    whole = total(metric(lm.last_logits(batch.clean), batch)).double().sum()
    out = np.zeros(len(keys))
    for row, key in enumerate(keys):
        changed = clean - written_by(site, patch, [key], context, by_position)
        x = changed.view(len(batch), context, -1)
        logits = lm.last_logits(batch.clean, {site.hook_point: lambda _, x=x: x})  # type: ignore[misc]
        out[row] = float(whole - total(metric(logits, batch)).double().sum())
    return out


def written_by(
    site: Dictionary, patch: Patch, keys: Sequence[int], context: int, by_position: bool
) -> Float[Tensor, "tokens width"]:
    """What patching some nodes, and only those, takes away."""
    wanted = torch.tensor(list(keys))
    own = torch.isin(node_keys(site, patch.codes.tokens, patch.codes.latents, context, by_position), wanted)
    errors = torch.isin(error_keys(site, len(patch.error), context, by_position), wanted)
    return written(patch.codes.where(own), site.directions) + patch.error * errors[:, None]
