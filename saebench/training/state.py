"""Everything a training run carries from step to step, and its form on disk.

Decisions: one safetensors file per checkpoint, written whole or not at all; what is not a tensor is JSON in its one
metadata key. No random state is kept because none is used: initial weights and the ring's orders come from the seed.
The SAE in a state reads activations divided by `scale`, so that learning rates mean the same for every model.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from saebench.files import atomic_write
from saebench.saes import SAE, SparseCodes
from saebench.saes.ranks import ALONE, Ranks
from saebench.training import distributed
from saebench.training.config import TrainConfig, build_rule
from saebench.training.ring import Ring

KEEP = 2


@dataclass
class State:
    """A run between two steps."""

    sae: SAE
    optimizer: torch.optim.Adam
    idle: Int[Tensor, " n_latents"]
    """Tokens since each latent fired last, or since the start."""
    scale: float = 1.0
    """Activations are divided by this before the SAE sees them."""
    step: int = 0
    seconds: float = 0.0

    def dead(self) -> Bool[Tensor, " n_latents"]:
        """Latents that have not fired for the rule's `dead_after` tokens."""
        return self.idle >= self.sae.rule.dead_after

    def dead_share(self) -> float:
        """Share of all latents that are dead."""
        latents = self.sae.ranks.latents
        return latents.sum(self.dead().float().mean()).item() / latents.size

    def count_fired(self, codes: SparseCodes) -> None:
        """Note which latents fired in a batch."""
        ranks = self.sae.ranks
        self.idle += ranks.count(len(codes))
        self.idle[ranks.tokens.sum(codes.pattern.by_latent.offsets.diff()) > 0] = 0

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by the name it has in a checkpoint."""
        tensors = {f"sae.{name}": tensor for name, tensor in self.sae.state_dict().items()} | {"idle": self.idle}
        for name, parameter in self.sae.named_parameters():
            tensors |= {f"adam.{name}.{key}": value for key, value in self.optimizer.state[parameter].items()}
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take on the tensors that `tensors` gave."""
        prefix = "sae."
        self.sae.load_state_dict({key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)})
        for name, parameter in self.sae.named_parameters():
            prefix = f"adam.{name}."
            if moments := {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}:
                self.optimizer.state[parameter] = moments
        self.idle = tensors["idle"]


def new_state(config: TrainConfig, d_model: int) -> State:
    """A run before its first step; the SAE is not yet fitted to data."""
    rule = build_rule(config.sae.rule)
    sae = SAE.create(d_model, config.sae.n_latents, rule, config.seed, config.sae.normalise).to(config.device)
    sae.kernel = config.build_kernel()
    trained = [parameter for parameter in sae.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=config.sae.lr or 0.0, betas=rule.betas, eps=6.25e-10, fused=True)
    return State(sae, optimizer, torch.zeros(sae.n_latents, dtype=torch.int64, device=config.device))


def save_checkpoint(folder: Path, state: State, ring: Ring) -> None:
    """Write the checkpoint of this step, then remove all but the latest two. Raises UserError for a full disk.

    Of several processes the first writes for all.
    """
    tensors = distributed.whole(state)
    if not state.sae.ranks.first:
        return
    folder.mkdir(exist_ok=True)
    rest = {"step": state.step, "seconds": state.seconds, "scale": state.scale, "ring": ring.state()}
    with atomic_write(folder / f"step-{state.step:09d}.safetensors") as file:
        file.write(save(tensors, {"saebench": json.dumps(rest)}))
    for old in checkpoints(folder)[:-KEEP]:
        old.unlink()


def checkpoints(folder: Path) -> list[Path]:
    """The folder's checkpoints, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))


def load_latest(folder: Path, state: State, ranks: Ranks = ALONE) -> dict[str, Any] | None:
    """Bring a new state to the latest readable checkpoint and return the ring's state; None without any.

    A checkpoint that cannot be read (a disk's fault: none is ever half-written) is passed over for the one before.
    Of several processes the first reads for all.
    """
    tensors, rest = (
        _read_latest(folder, state.idle.device if ranks is ALONE else torch.device("cpu"))
        if ranks.first
        else ({}, None)
    )
    rest = distributed.from_first(ranks, lambda: rest)
    if rest is None:
        return None
    distributed.split(state, ranks)
    state.restore(distributed.own_parts(state, tensors))
    state.step, state.seconds, state.scale = rest["step"], rest["seconds"], rest["scale"]
    return rest["ring"]


def _read_latest(folder: Path, device: torch.device) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    for path in reversed(checkpoints(folder)):
        try:
            with safe_open(path, framework="pt", device=str(device)) as file:
                rest = json.loads(file.metadata()["saebench"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 — not a mapping
        except (SafetensorError, OSError, ValueError):
            continue
        return tensors, rest
    return {}, None
