"""A run's tensors among processes: each its own latents, all of them together where they are written.

Decisions: everything is gathered tensor by tensor to the first process and read back the same way, so that no process
holds more than its part and one whole tensor. Tensors that all have alike are the first process's.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from saebench.saes import SAE, rule_from_data
from saebench.saes.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from saebench.training.state import State

T = TypeVar("T")


def from_first(ranks: Ranks, make: Callable[[], T]) -> T:
    """What the first process makes, on all of them; it must be plain data."""
    return ranks.everyone.from_first(make() if ranks.first else None)


def copy_from_first(sae: SAE, ranks: Ranks) -> None:
    """Give every process the first one's tensors, of a whole SAE."""
    if ranks.everyone.size > 1:
        for tensor in sae.state_dict().values():
            tensor.copy_(ranks.everyone.copied(tensor))


def per_latent(sae: SAE) -> set[str]:
    """Names of the SAE's tensors that have a row for each latent."""
    without = {"b_dec", *sae.rule.common}
    return {name for name, tensor in sae.state_dict().items() if tensor.ndim and name not in without}


def split(state: "State", ranks: Ranks) -> None:
    """Leave each process the rows of its own latents, in place, and let the rule know of the others."""
    _replace(state, ranks.own)
    state.sae.ranks = ranks


def unite(state: "State") -> None:
    """Undo `split` on the first process; the others must not use the state any more."""
    ranks = state.sae.ranks
    if ranks.latents.size > 1:
        _replace(state, lambda own: own if (found := ranks.collected(own)) is None else found)
    state.sae.ranks = ALONE


def _replace(state: "State", change: Callable[[Tensor], Tensor]) -> None:
    names = per_latent(state.sae)
    for name, tensor in (*state.sae.named_parameters(), *state.sae.named_buffers()):
        if name in names:
            tensor.data = change(tensor.data)
    state.idle = change(state.idle)


def whole(state: "State") -> dict[str, Tensor]:
    """All tensors of the state as one process would have them; on the other processes than the first, nothing."""
    ranks = state.sae.ranks
    if ranks.latents.size == 1:
        return state.tensors() if ranks.first else {}
    names = per_latent(state.sae)
    found = {}
    for key, tensor in state.tensors().items():
        if not _has_rows(key, tensor, names):
            found[key] = tensor
        elif (gathered := ranks.collected(tensor)) is not None:
            found[key] = gathered.cpu()
    return found if ranks.first else {}


def loaded(ranks: Ranks, load: Callable[[], SAE]) -> SAE:
    """An SAE that the first process loads, whole, on all of them."""
    sae = load() if ranks.first else None
    config: dict[str, Any] = from_first(ranks, lambda: sae.config() if sae else {})
    tensors = dict(_copied(ranks, sae.state_dict() if sae else {}))
    return sae or SAE(**tensors, rule=rule_from_data(config["rule"]), normalise=config["normalise"]).eval()


def _copied(ranks: Ranks, tensors: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The first process's tensors, one after the other."""
    for key, shape, dtype in from_first(ranks, lambda: [(k, tuple(t.shape), t.dtype) for k, t in tensors.items()]):
        yield key, ranks.everyone.copied(tensors[key] if ranks.first else torch.empty(shape, dtype=dtype))


def own_parts(state: "State", tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of the tensors that the first process has read (`whole` wrote them), what belongs on this one."""
    ranks = state.sae.ranks
    if ranks.everyone.size == 1:
        return tensors
    names = per_latent(state.sae)
    return {
        key: (ranks.own(tensor) if _has_rows(key, tensor, names) else tensor).to(state.idle.device)
        for key, tensor in _copied(ranks, tensors)
    }


def _has_rows(key: str, tensor: Tensor, names: set[str]) -> bool:
    """Whether a tensor of a checkpoint has a row for each latent: dead counters, weights, Adam's moments of them."""
    return bool(tensor.ndim) and (key == "idle" or key.split(".")[1] in names)
