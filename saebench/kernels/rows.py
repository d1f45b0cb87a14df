"""What is done to whole rows of a matrix beside the sparse work: unit norms, and gradients that respect them.

Decisions: in place, and one pass over memory where compiled code does it (float32 on a CPU); torch operators elsewhere.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.kernels.backend import Kernel, choose
from saebench.kernels.native import library, pointer


@torch.no_grad()
def unit_rows_(rows: Float[Tensor, "n d"], kernel: Kernel | None = None) -> None:
    """Divide every row by its norm; a row of zeros stays."""
    if _native(rows, kernel):
        library().unit_rows(pointer(rows), *rows.shape, torch.get_num_threads())
        return
    norm = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    rows.div_(torch.where(norm > 0, norm, torch.ones_like(norm)))


@torch.no_grad()
def project_rows_(gradient: Float[Tensor, "n d"], rows: Float[Tensor, "n d"], kernel: Kernel | None = None) -> None:
    """Remove from each row of the gradient its part along the (unit) row, which would only change that row's norm."""
    if _native(gradient, kernel) and _native(rows, kernel):
        library().project_rows(pointer(gradient), pointer(rows), *rows.shape, torch.get_num_threads())
        return
    along = torch.einsum("md,md->m", gradient, rows)
    gradient.addcmul_(rows, along[:, None], value=-1)


def _native(tensor: Tensor, kernel: Kernel | None) -> bool:
    kernel = kernel or choose(tensor.device)
    return kernel.native and tensor.dtype == torch.float32 and tensor.is_contiguous()
