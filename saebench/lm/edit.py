"""Changing what hook points hold while a model runs, in the bridged modules and in transformers' own alike."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from saebench.errors import UserError


class Pass(NamedTuple):
    """A pass under way; every hook point of one pass gets the same object.

    Attributes:
        tokens: what it reads. With a cache of keys and values these are the new tokens alone.
        start: how many tokens of each sequence the cache holds already.
    """

    tokens: Int[Tensor, "batch new"]
    start: int


Edit = Callable[[Float[Tensor, "batch new width"], Pass], Float[Tensor, "batch new width"]]
"""(what a hook point holds, the pass under way) → what it shall hold instead; heads are side by side."""

Change = Callable[[Tensor], Tensor]

LARGEST = 1e15
"""What an edit may leave, in absolute value. Norms further on sum squares: from 1e19 these overflow in float32, the
norm gives zeros instead, and logits stay finite that owe nothing to the text. Between lies room for what matrices add.
"""


@contextmanager
def seen_pass(model: nn.Module, embedding: nn.Module) -> Iterator[Callable[[], Pass]]:
    """A function that gives the pass under way: the tokens which the embedding was last called with, behind those of
    the cache which the model was.
    """
    start, seen = [0], list[Pass]()

    def begin(_module: nn.Module, _inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        cache = named.get("past_key_values")
        start[0] = 0 if cache is None else int(cache.get_seq_length())

    def keep(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen[:] = [Pass(inputs[0] if inputs else next(iter(named.values())), start[0])]

    with ExitStack() as stack:
        stack.callback(model.register_forward_pre_hook(begin, with_kwargs=True).remove)
        stack.callback(embedding.register_forward_pre_hook(keep, with_kwargs=True).remove)
        yield lambda: seen[0]


def all_finite(values: Float[Tensor, "..."]) -> bool:
    """Whether no value is infinite or NaN, and so neither is their sum: one pass, where asking each takes four."""
    return math.isfinite(values.sum(dtype=torch.float32))


@contextmanager
def finite_logits(unembedding: nn.Module) -> Iterator[None]:
    """While inside, logits that are not finite are an error. Raises UserError for them."""

    def check(_module: nn.Module, _inputs: tuple[Any, ...], logits: Tensor) -> None:
        if not all_finite(logits):
            raise UserError("the model's logits overflow under this change of its activations; use smaller strengths")

    handle = unembedding.register_forward_hook(check)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def leaf_output(module: nn.Module) -> Iterator[Callable[[], Tensor]]:
    """A function that gives the module's last output, which passes inside can be differentiated in."""
    made: list[Tensor] = []

    def leave(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        made[:] = [output.detach().requires_grad_()]
        return made[0]

    handle = module.register_forward_hook(leave)
    try:
        yield lambda: made[0]
    finally:
        handle.remove()


def attach(module: nn.Module, end: str, change: Change) -> Any:
    """Put `change` on a module's input (`hook_in`) or output (`hook_out`); returns the handle that removes it."""
    if end == "hook_out":
        return module.register_forward_hook(lambda _module, _inputs, output: _first(output, change))

    def before(
        _module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if inputs:
            return _first(inputs, change), named
        return inputs, {**named, "hidden_states": change(named["hidden_states"])}

    return module.register_forward_pre_hook(before, with_kwargs=True)


def _first(values: Any, change: Change) -> Any:
    """Modules give a tensor, or a tuple that begins with it."""
    return (change(values[0]), *values[1:]) if isinstance(values, tuple) else change(values)


def on_tokens(edit: Edit, now: Callable[[], Pass], hook_point: str) -> Change:
    """An edit of a hook point as a function of the value alone, in the value's own shape and dtype, which raises
    UserError for what it leaves that is not finite or above `LARGEST`.
    """

    def edited(value: Tensor) -> Tensor:
        changed = edit(value, now())
        if not float(torch.linalg.vector_norm(changed.detach(), torch.inf)) <= LARGEST:  # no NaN is
            raise UserError(f"activations at {hook_point} overflow under this change of them; use smaller strengths")
        return changed

    return side_by_side(edited)


def side_by_side(change: Change) -> Change:
    """A change of values whose heads are side by side as one of values in the module's own shape and dtype."""
    return lambda value: change(value.flatten(2)).view_as(value).to(value.dtype)
