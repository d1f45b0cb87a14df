"""What a process of test_distributed.py does: `distributed_worker.py train OUT LAYOUT/CASE…` or `faults OUT PORT…`."""

import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from saebench.errors import UserError
from saebench.training import TrainConfig, train
from saebench.training.distributed import launched

AUX = {"k": 4, "k_aux": 6, "dead_after": 200}
CASES: dict[str, dict] = {
    "topk": {"rule": {"name": "topk"} | AUX},
    "multi_topk": {"rule": {"name": "topk", "multi_k": 12} | AUX},
    "layer_norm": {"rule": {"name": "topk"} | AUX, "normalise": "layer_norm"},
    "batchtopk": {"rule": {"name": "batchtopk"} | AUX},
    "mutual_choice": {"rule": {"name": "mutual_choice"} | AUX},
    "feature_choice": {"rule": {"name": "feature_choice", "mutual_tokens": 600} | AUX},
    "matryoshka": {"rule": {"name": "matryoshka", "prefixes": [0.1, 0.4, 1.0]} | AUX},
    "jumprelu": {"rule": {"name": "jumprelu", "initial_l0": 8}},
    "jumprelu_target": {"rule": {"name": "jumprelu", "initial_l0": 8, "target_l0": 4, "l0_weight": 0.1}},
    "jumprelu_tanh": {"rule": {"name": "jumprelu_tanh", "initial_l0": 8, "preactivation_weight": 1e-3}},
    "gated": {"rule": {"name": "gated", "initial_l0": 8}},
    "relu": {"rule": {"name": "relu", "initial_l0": 8}},
    "archetypal": {"rule": {"name": "archetypal"} | AUX},
    "micro_batches": {"rule": {"name": "batchtopk"} | AUX, "train": {"micro_batch": 32}},
    "reference": {"rule": {"name": "feature_choice", "mutual_tokens": 600} | AUX, "train": {"kernel": "reference"}},
    "slow": {"rule": {"name": "batchtopk"} | AUX, "train": {"tokens": 97 * 36, "checkpoint_every": 4}},
}


class Dictionary:
    """Sparse sums of 48 fixed directions in 16 dimensions about a mean, some directions rare; NaN from a block on."""

    d_model = 16

    def __init__(self, spoilt: int | None = None) -> None:
        self.spoilt = spoilt

    def blocks(self, start: int = 0) -> Iterator[Tensor]:
        directions = torch.randn(48, 16, generator=torch.Generator().manual_seed(99))
        odds = 1 / (1 + torch.arange(48.0))
        while True:
            g = torch.Generator().manual_seed(start)
            codes = torch.zeros(150, 48).scatter(
                1, torch.multinomial(odds.expand(150, 48), 3, generator=g), torch.rand(150, 3, generator=g) + 0.5
            )
            yield codes @ directions + 2 if start != self.spoilt else torch.full((150, 16), torch.nan)
            start += 1


def config(case: str, parallel: str, n_latents: int = 128) -> TrainConfig:
    settings = CASES[case]
    base = {
        "tokens": 97 * 16, "batch": 97, "ring_rows": 388, "log_every": 2, "checkpoint_every": 8, "device": "cpu",
        "sparsity_warmup": 0.5, "parallel": parallel,
    }  # fmt: skip
    sae = {key: value for key, value in settings.items() if key != "train"} | {"n_latents": n_latents, "lr": 0.003}
    return TrainConfig.model_validate(base | settings.get("train", {}) | {"sae": sae})


def faults(out: Path, ports: list[str]) -> None:
    """Runs that cannot go on, each with a group of processes of its own; what is reported goes to OUT.<rank>."""
    rank = int(os.environ["RANK"])

    def report(line: str) -> None:
        with Path(f"{out}.{rank}").open("a") as file:
            file.write(line + "\n")

    def full(name: str) -> None:
        if rank == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        train(config("topk", name), Dictionary(), out / name)

    def elsewhere() -> None:
        if rank == 1:
            raise UserError("this machine has no harvest")
        train(config("topk", "data"), Dictionary(), out / "elsewhere")

    runs = [
        lambda: train(config("topk", "data"), Dictionary(spoilt=6), out / "nan"),
        lambda: train(config("gated", "latents"), Dictionary(spoilt=6), out / "nan-latents"),
        lambda: train(config("topk", "latents", n_latents=127), Dictionary(), out / "odd"),
        elsewhere,
        lambda: full("latents"),
    ]
    for run, port in zip(runs, ports, strict=True):
        os.environ["MASTER_PORT"] = port
        try:
            with launched(report):
                run()
            report("nothing failed")
        except SystemExit as stop:
            report(f"exit {stop.code}")


def main(what: str, out: Path, rest: list[str]) -> None:
    torch.set_num_threads(1)
    if what == "faults":
        faults(out, rest)
        return
    with launched():
        for run in rest:
            layout, case = run.split("/")[-2:]
            sae = train(config(case, "data" if layout == "one" else layout), Dictionary(), out / run)
            assert sae.W_enc.shape == (128, 16)
    if Path("/proc/self/task").exists():  # a thread of the group that lives on can abort the process at its end
        threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
        assert not any("gloo" in name for name in threads), threads


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
