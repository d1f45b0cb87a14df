"""Which implementation runs: the one place that chooses.

Decisions: chosen from the device and from what the CPU *is*, never from a timing, so that a run resumed on the same
machine computes the same bits. The bfloat16 product is used only with AMX tiles: AVX-512's bfloat16 instructions
measured slower than float32 (150 against 240 GFLOP/s on two cores).
"""

from dataclasses import asdict, dataclass

import torch

BACKENDS = ("reference", "cpu")
PRODUCTS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Kernel:
    """An implementation and the precision of its encoder product; what a run notes in its config."""

    backend: str
    """`reference` (dense torch, any device) or `cpu`."""
    product: str = "float32"
    """`float32`, or `bfloat16`: a bfloat16 product proposes and float32 decides (cpu only)."""

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ValueError(f"unknown kernel backend {self.backend!r}; there are {', '.join(BACKENDS)}")
        if self.product not in PRODUCTS:
            raise ValueError(f"unknown encoder product {self.product!r}; there are {', '.join(PRODUCTS)}")
        if self.backend == "reference" and self.product == "bfloat16":
            raise ValueError("the reference kernels have no bfloat16 product; use product float32 or the cpu kernels")

    def to_data(self) -> dict[str, str]:
        """As plain data, for configs and logs."""
        return asdict(self)


def choose(device: torch.device | str) -> Kernel:
    """The fastest correct kernel for tensors on `device`."""
    if torch.device(device).type != "cpu":
        return Kernel("reference")
    return Kernel("cpu", "bfloat16" if torch.cpu._is_amx_tile_supported() else "float32")
