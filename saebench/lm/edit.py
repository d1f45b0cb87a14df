"""Changing what hook points hold while a model runs, in the bridged modules and in transformers' own alike."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

Edit = Callable[[Float[Tensor, "batch new width"], Int[Tensor, "batch new"]], Float[Tensor, "batch new width"]]
"""(what a hook point holds, the tokens of this pass) → what it shall hold instead; heads are side by side. With a
cache of keys and values a pass has only the new tokens."""

Change = Callable[[Tensor], Tensor]


@contextmanager
def seen_tokens(embedding: nn.Module) -> Iterator[Callable[[], Int[Tensor, "batch new"]]]:
    """A function that gives the tokens of the pass under way: those which the embedding was last called with."""
    seen: list[Tensor] = []

    def keep(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen[:] = [inputs[0] if inputs else next(iter(named.values()))]

    handle = embedding.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        yield lambda: seen[0]
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


def on_tokens(edit: Edit, tokens: Callable[[], Int[Tensor, "batch new"]]) -> Change:
    """An edit as a function of the value alone, in the value's own shape and dtype."""
    return side_by_side(lambda value: edit(value, tokens()))


def side_by_side(change: Change) -> Change:
    """A change of values whose heads are side by side as one of values in the module's own shape and dtype."""
    return lambda value: change(value.flatten(2)).view_as(value).to(value.dtype)
