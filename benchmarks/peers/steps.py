"""One training step of each peer, as its own trainer takes it, to be timed. Imported in the peers' environment.

Each function returns a callable of a batch. SAELens has such a step as a method, which is what runs here. sparsify has
one long `fit`; what that does for each batch of activations is called here in its order. dictionary_learning is left
out: importing it replaces torch's `Tensor.backward` for everyone in the process.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

Step = Callable[[Tensor], object]


def saelens(rule: str, d: int, width: int, k: int, *, autocast: bool = False, **settings: Any) -> Step:
    """SAETrainer.step: forward, losses, firing statistics, backward, clipping, Adam, schedulers."""
    from sae_lens.config import SAETrainerConfig
    from sae_lens.registry import get_sae_training_class
    from sae_lens.training.sae_trainer import SAETrainer

    sae_class, config_class = get_sae_training_class(rule)
    settings |= {"k": k} if rule in ("topk", "batchtopk") else {}
    sae = sae_class(config_class(d_in=d, d_sae=width, **settings))
    config = SAETrainerConfig(
        total_training_samples=10**9, train_batch_size_samples=2048, lr=1e-5, lr_end=1e-5, autocast=autocast
    )
    trainer = SAETrainer(config, sae, _nothing())

    def step(x: Tensor) -> None:
        trainer.step(x)
        trainer.n_training_steps += 1

    return step


def _nothing() -> Iterator[Tensor]:
    yield from ()


def sparsify(d: int, width: int, k: int, optimizer: str, *, autocast: bool = False) -> Step:
    """The hook and the optimiser's part of Trainer.fit, for one SAE on one device.

    `signum` is their default, `adam` is torch's, which they take where bitsandbytes is missing. AuxK is off in their
    defaults. They do not clip. Their SAE casts to bfloat16 on CUDA only; `autocast` does the same on the CPU.
    """
    from schedulefree import ScheduleFreeWrapper
    from sparsify import SparseCoder, SparseCoderConfig
    from sparsify.sign_sgd import SignSGD

    sae = SparseCoder(d, SparseCoderConfig(num_latents=width, k=k), dtype=torch.float32)
    groups = [{"params": list(sae.parameters()), "lr": 1e-5}]
    if optimizer == "adam":
        optim: Any = torch.optim.Adam(groups)
    else:
        optim = ScheduleFreeWrapper(SignSGD(groups), momentum=0.95)
        optim.train()
    idle = torch.zeros(width, dtype=torch.long)
    fired = torch.zeros(width, dtype=torch.bool)

    def step(x: Tensor) -> None:
        x = x.detach().clone()[torch.ones(len(x), dtype=torch.bool)]  # as they cut out excluded tokens
        sae.set_decoder_norm_to_unit_norm()
        total_variance = (x - x.mean(0)).pow(2).sum()
        with torch.autocast("cpu", torch.bfloat16) if autocast else contextlib.nullcontext():
            out = sae(x=x, y=x, dead_mask=None, total_variance=total_variance)
        fired[out.latent_indices.flatten()] = True
        float(out.fvu.detach())
        (out.fvu + 0.0 * out.auxk_loss + out.multi_topk_fvu / 8).backward()
        sae.remove_gradient_parallel_to_decoder_directions()
        optim.step()
        optim.zero_grad()
        with torch.no_grad():
            idle.add_(len(x))
            idle[fired] = 0
            fired.zero_()

    return step
