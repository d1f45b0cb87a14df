"""Starting a kernel: on the tensors' device, with the options that only the compiler reads.

Decisions: every kernel of this package starts here, so one place knows of devices, of empty grids and of Triton's
interpreter (`TRITON_INTERPRET=1`, set before triton is first imported), in which the tests run the kernels on a CPU.
"""

from typing import Any

import torch
import triton
from torch import Tensor


def interpreted() -> bool:
    """Whether Triton's interpreter runs the kernels, on tensors of any device."""
    return bool(triton.knobs.runtime.interpret)


def launch(kernel: Any, grid: tuple[int, ...], /, *arguments: Tensor | int, **options: Any) -> None:
    """Run `kernel` on a grid of programs; nothing where the grid is empty. The first argument is a tensor.

    `options` are the kernel's constants and the compiler's `num_warps` and `num_stages`.
    """
    if not all(grid):
        return
    first = arguments[0]
    assert isinstance(first, Tensor)
    if interpreted():
        kernel[grid](*arguments, **options)
        return
    with torch.cuda.device(first.device):
        kernel[grid](*arguments, **options)
