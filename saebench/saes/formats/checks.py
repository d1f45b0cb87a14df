"""Looking at a foreign checkpoint before any work: every complaint names the tensor or the key."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

Config = dict[str, Any]
Tensors = dict[str, Tensor]


def expect(
    tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], by: str, infinite: tuple[str, ...] = ()
) -> None:
    """Raise ValueError unless there are exactly these tensors, of these shapes, floating, without NaN or Inf.

    `by` is what the shapes follow from. Those named `infinite` may hold Inf: thresholds of latents that never fire.
    """
    complaints = [
        f"{what} tensors {', '.join(sorted(names))}"
        for what, names in (("missing", set(shapes) - set(tensors)), ("unknown", set(tensors) - set(shapes)))
        if names
    ]
    if complaints:
        raise ValueError("; ".join(complaints))
    for name, shape in shapes.items():
        tensor = tensors[name]
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, by {by} it must be {shape}")
        if not tensor.is_floating_point() or tensor.dtype.itemsize < 2:
            raise ValueError(f"{name} is of type {tensor.dtype}, it must be a float of 16 bits or more")
        if bool(tensor.isnan().any() if name in infinite else ~tensor.isfinite().all()):
            raise ValueError(f"{name} contains NaN or Inf")


def whole(config: Mapping[str, Any], key: str) -> int:
    """A whole number of at least 1. Raises ValueError."""
    value = required(config, key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer() or value < 1:
        raise ValueError(f"config: {key} must be a whole number of at least 1, is {value!r}")
    return int(value)


def flag(config: Mapping[str, Any], key: str, default: bool) -> bool:
    """True or false. Raises ValueError."""
    value = config.get(key, default)
    if not isinstance(value, bool):
        raise ValueError(f"config: {key} must be true or false, is {value!r}")
    return value


def one_of(config: Mapping[str, Any], key: str, known: tuple[str, ...], default: str | None = None) -> str:
    """One of the values we know how to read. Raises ValueError."""
    value = required(config, key) if default is None else config.get(key, default)
    if value not in known:
        raise ValueError(f"config: {key} is {value!r}; saebench reads {', '.join(known)}")
    return str(value)


def refuse(config: Mapping[str, Any], key: str, why: str) -> None:
    """Raise ValueError where a key that we have no maths for is switched on."""
    if config.get(key):
        raise ValueError(f"config: {key} is {config[key]!r}: {why}")


def required(config: Mapping[str, Any], key: str) -> Any:
    """The value of a key. Raises ValueError where it is missing."""
    if config.get(key) is None:
        raise ValueError(f"config: {key} is missing")
    return config[key]


def section(config: Mapping[str, Any], key: str) -> Config:
    """A table within the config. Raises ValueError where it is missing or something else."""
    value = required(config, key)
    if not isinstance(value, dict):
        raise ValueError(f"config: {key} must be a table, is {value!r}")
    return value
