"""The model without the bridge: the same weights in transformers' own modules, for passes that only read activations.

The bridge computes attention step by step so that every step can be hooked; transformers' fused attention is up to
twice as fast, and so is one operation for GELU where transformers writes out GPT-2's as eight. A hook point that is the
input or output of one of transformers' modules is read there instead.
"""

import copy
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class LastHookError(Exception):
    """Not a failure: ends a forward pass once everything asked for has been seen."""


def twin_of(model: nn.Module) -> nn.Module:
    """A copy of a model's modules around the same parameters and buffers, with GELU in one operation."""
    from transformers.activations import GELUTanh, NewGELUActivation  # loads much, as do models

    tensors = itertools.chain(model.parameters(), model.buffers())
    twin = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    for module in list(twin.modules()):
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, GELUTanh())
    return twin


@contextmanager
def unfused_attention(twin: Any) -> Iterator[None]:
    """While inside, attention is computed as plain products: for texts of a few tokens that is faster than the fused
    kernel, whose blocks they do not fill.
    """
    before = twin.config._attn_implementation
    twin.set_attn_implementation("eager")
    try:
        yield
    finally:
        twin.set_attn_implementation(before)


def module_of(bridge: Any, model: nn.Module, hook_point: str) -> tuple[nn.Module, str] | None:
    """(module, `hook_in` or `hook_out`) whose input or output a hook point is, or None if it is inside of one."""
    *parts, end = bridge.hook_dict[hook_point].name.split(".")
    if end not in ("hook_in", "hook_out"):
        return None
    path, components = [], bridge.adapter.component_mapping
    for part in parts:
        if part.isdigit():
            path.append(part)
            continue
        component = components.get(part)
        if component is None or component.name is None:
            return None
        path.append(component.name)
        components = component.submodules
    try:
        return model.get_submodule(".".join(path)), end
    except AttributeError:
        return None


def read(
    model: nn.Module, places: dict[str, tuple[nn.Module, str]], tokens: Int[Tensor, "batch context"]
) -> dict[str, Tensor]:
    """Values at several places of one forward pass, which ends at the last of them."""
    found: dict[str, Tensor] = {}

    def keep(name: str, value: Any) -> None:
        found[name] = value[0] if isinstance(value, tuple) else value
        if len(found) == len(places):
            raise LastHookError

    with ExitStack() as stack:
        for name, (module, end) in places.items():
            stack.callback(watch(module, end, name, keep).remove)
        with suppress(LastHookError):
            model(input_ids=tokens, use_cache=False)
    return found


def watch(module: nn.Module, end: str, name: str, keep: Callable[[str, Any], None]) -> Any:
    """Attach `keep` to a module's input or output; returns the handle that removes it."""
    if end == "hook_out":
        return module.register_forward_hook(lambda _module, _inputs, output: keep(name, output))

    def before(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        keep(name, inputs[0] if inputs else named["hidden_states"])

    return module.register_forward_pre_hook(before, with_kwargs=True)


def agree(first: Float[Tensor, "..."], second: Float[Tensor, "..."]) -> bool:
    """Whether two readings of one place are the same up to rounding."""
    if first.shape != second.shape:
        return False
    scale = float(second.abs().max())
    return bool(torch.allclose(first.float(), second.float(), rtol=1e-3, atol=1e-4 * scale))
