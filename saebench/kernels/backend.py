"""Which implementation runs: the one place that chooses.

Decisions: chosen from the device and from what the CPU *is*, never from a timing, so that a run resumed on the same
machine computes the same bits. The bfloat16 product is used with AMX tiles and on AMD's CPUs with AVX-512's bfloat16
instructions, where it takes 0.35 of float32's time; the same instructions on an Intel CPU without AMX measured slower
than float32 (150 against 240 GFLOP/s on two cores). Triton is for NVIDIA GPUs that multiply bfloat16 (compute
capability 8.0 and up); other devices have the reference.
"""

import platform
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from saebench.kernels import native as library

BACKENDS = ("reference", "cpu", "triton")
PRODUCTS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Kernel:
    """An implementation, the precision of its encoder product, and who computes; what a run notes in its config."""

    backend: str
    """`reference` (dense torch, any device), `cpu` or `triton` (CUDA; float64 weights run the reference)."""
    product: str = "float32"
    """`float32`, or `bfloat16`: a bfloat16 product proposes and float32 decides (cpu and triton)."""
    native: bool = False
    """Whether compiled code does the work (cpu only, float32 weights), or torch operators do."""

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ValueError(f"unknown kernel backend {self.backend!r}; there are {', '.join(BACKENDS)}")
        if self.product not in PRODUCTS:
            raise ValueError(f"unknown encoder product {self.product!r}; there are {', '.join(PRODUCTS)}")
        if self.backend == "reference" and self.product == "bfloat16":
            raise ValueError("the reference kernels have no bfloat16 product; use product float32 or other kernels")
        if self.native and self.backend != "cpu":
            raise ValueError(f"the {self.backend} kernels have no native code; use native false or the cpu kernels")
        if self.native and not library.available():
            raise ValueError(f"the native kernels cannot be used here ({library.why_not()}); use native false")

    def to_data(self) -> dict[str, Any]:
        """As plain data, for configs and logs."""
        return asdict(self)


def choose(device: torch.device | str) -> Kernel:
    """The fastest correct kernel for tensors on `device`."""
    device = torch.device(device)
    if device.type != "cpu":
        return Kernel("triton", "bfloat16") if runs_triton(device) else Kernel("reference")
    return Kernel("cpu", "bfloat16" if bfloat16_pays() else "float32", library.available())


@cache
def runs_triton(device: torch.device) -> bool:
    """Whether the Triton kernels are made for this device: an NVIDIA GPU with bfloat16, and triton installed."""
    if device.type != "cuda" or not torch.cuda.is_available() or torch.version.hip or not find_spec("triton"):
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


@cache
def bfloat16_pays() -> bool:
    """Whether this CPU multiplies bfloat16 faster than float32: with AMX, or AMD's with AVX-512's bfloat16."""
    flags, vendor = _cpu()
    return "amx_bf16" in flags or ("avx512_bf16" in flags and "AuthenticAMD" in vendor)


def has_amx() -> bool:
    """Whether this CPU multiplies bfloat16 in AMX tiles."""
    return "amx_bf16" in _cpu()[0]


@cache
def _cpu() -> tuple[frozenset[str], str]:
    """Instruction sets and vendor, as Linux tells them; elsewhere no sets."""
    info = Path("/proc/cpuinfo")
    fields = dict.fromkeys(("flags", "vendor_id"), "")
    for line in info.read_text().splitlines() if info.exists() else []:
        name, _, value = line.partition(":")
        if name.strip() in fields:
            fields[name.strip()] = value.strip()
    return frozenset(fields["flags"].split()), fields["vendor_id"] or platform.processor()
