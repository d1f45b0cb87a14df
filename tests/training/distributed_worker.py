"""Train every case in every layout: `torchrun … distributed_worker.py OUT LAYOUT…`; without torchrun, one process."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from saebench.training import TrainConfig, train
from saebench.training.distributed import launched

BASE = {
    "tokens": 30 * 97, "batch": 97, "ring_rows": 388, "log_every": 1, "checkpoint_every": 10, "sparsity_warmup": 0.5,
    "device": "cpu",
}  # fmt: skip
AUX = {"k": 4, "k_aux": 6, "dead_after": 300}
CASES: dict[str, dict] = {
    "topk": {"rule": {"name": "topk"} | AUX},
    "multi_topk": {"rule": {"name": "topk", "multi_k": 12} | AUX},
    "layer_norm": {"rule": {"name": "topk"} | AUX, "normalise": "layer_norm"},
    "batchtopk": {"rule": {"name": "batchtopk"} | AUX},
    "mutual_choice": {"rule": {"name": "mutual_choice"} | AUX},
    "feature_choice": {"rule": {"name": "feature_choice", "mutual_tokens": 1000} | AUX},
    "matryoshka": {"rule": {"name": "matryoshka", "prefixes": [0.1, 0.4, 1.0]} | AUX},
    "jumprelu": {"rule": {"name": "jumprelu", "initial_l0": 8}},
    "jumprelu_target": {"rule": {"name": "jumprelu", "initial_l0": 8, "target_l0": 4, "l0_weight": 0.1}},
    "jumprelu_tanh": {"rule": {"name": "jumprelu_tanh", "initial_l0": 8, "preactivation_weight": 1e-3}},
    "gated": {"rule": {"name": "gated", "initial_l0": 8}},
    "relu": {"rule": {"name": "relu", "initial_l0": 8}},
    "archetypal": {"rule": {"name": "archetypal"} | AUX},
    "micro_batches": {"rule": {"name": "batchtopk"} | AUX, "train": {"micro_batch": 32}},
    "reference": {"rule": {"name": "feature_choice", "mutual_tokens": 1000} | AUX, "train": {"kernel": "reference"}},
}


class Dictionary:
    """Sparse sums of 48 fixed directions in 16 dimensions about a mean, some directions rare."""

    d_model = 16

    def blocks(self, start: int = 0) -> Iterator[Tensor]:
        directions = torch.randn(48, 16, generator=torch.Generator().manual_seed(99))
        odds = 1 / (1 + torch.arange(48.0))
        while True:
            g = torch.Generator().manual_seed(start)
            codes = torch.zeros(150, 48).scatter(
                1, torch.multinomial(odds.expand(150, 48), 3, generator=g), torch.rand(150, 3, generator=g) + 0.5
            )
            yield codes @ directions + 2
            start += 1


def config(case: str, parallel: str = "data", **changes: object) -> TrainConfig:
    settings = CASES[case]
    sae = {key: value for key, value in settings.items() if key != "train"} | {"n_latents": 64, "lr": 0.003}
    return TrainConfig.model_validate(BASE | settings.get("train", {}) | {"sae": sae, "parallel": parallel} | changes)


def main(out: Path, layouts: list[str]) -> None:
    torch.set_num_threads(1)
    with launched():
        for layout in layouts:
            for case in os.environ.get("CASES", ",".join(CASES)).split(","):
                train(config(case, "latents" if layout == "latents" else "data"), Dictionary(), out / layout / case)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
