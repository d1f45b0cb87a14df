"""Train one SAE with a peer's own trainer: run by peers_quality.py in the peers' environment.

Each peer's own training loop runs, unchanged, on the rows of one file. What it is told comes as JSON: trainer, rule,
rows (the file), d, batch, tokens, width, k, seed, out (a folder), and set, the settings of the peer's own configs. The
checkpoint is written by the peer too, beside `seconds.json`, the seconds that training took.

Decisions:
- sparsify's trainer hooks a language model: here the "model" looks rows up by token number.
- SAELens and dictionary_learning scale activations by a factor of their first batches (their option, recommended).
- Rates rise over WARMUP of the steps and fall over the last DECAY where the trainer can be told so: as ours do.
"""

import json
import os
import random
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from torch import Tensor, nn

from peers.rows import Rows

WARMUP, DECAY = 0.02, 0.3
SCALE_BATCHES = 32


def saelens(task: dict[str, Any], rows: Rows) -> float:
    """SAETrainer. Settings of the SAE's config and of the trainer's config are told apart by their names."""
    from dataclasses import fields

    from sae_lens.config import SAETrainerConfig
    from sae_lens.registry import get_sae_training_class
    from sae_lens.training.sae_trainer import SAETrainer

    sae_class, config_class = get_sae_training_class(task["rule"])
    settings = {"k": task["k"]} if task["rule"] in ("topk", "batchtopk") else {}
    settings |= {"normalize_activations": "expected_average_only_in"} | task["set"]
    of_sae = {item.name for item in fields(config_class)}
    sae = sae_class(config_class(d_in=task["d"], d_sae=task["width"],
                                 **{key: value for key, value in settings.items() if key in of_sae}))  # fmt: skip
    schedule = {"lr_warm_up_steps": round(WARMUP * rows.steps), "lr_decay_steps": round(DECAY * rows.steps)}
    schedule |= {key: value for key, value in settings.items() if key not in of_sae}
    config = SAETrainerConfig(
        total_training_samples=rows.steps * rows.batch, train_batch_size_samples=rows.batch, lr_end=schedule["lr"],
        **schedule,
    )  # fmt: skip
    trainer = SAETrainer(config, sae, iter(rows))
    if sae.cfg.normalize_activations == "expected_average_only_in":
        trainer.activation_scaler.estimate_scaling_factor(task["d"], iter(rows), SCALE_BATCHES)
    begun = time.perf_counter()
    trainer.fit()
    seconds = time.perf_counter() - begun
    sae.save_inference_model(task["out"])
    return seconds


class Replay(nn.Module):
    """A language model to sparsify's trainer: `site` puts out the row of each token's number."""

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self.rows, self.site = rows, nn.Identity()
        self.config = SimpleNamespace(num_hidden_layers=1)
        self.device = torch.device("cpu")
        self.dummy_inputs = {"input_ids": torch.zeros(1, 1, dtype=torch.long)}

    @property
    def base_model(self) -> nn.Module:
        """Where the trainer looks for hook points."""
        return self

    def forward(self, input_ids: Tensor) -> Tensor:
        """The rows of token numbers."""
        return self.site(self.rows.take(input_ids.flatten().numpy()).view(*input_ids.shape, -1))


class Numbers(torch.utils.data.Dataset):
    """One "context" per batch: the numbers of its rows."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        return {"input_ids": torch.arange(step * self.rows.batch, (step + 1) * self.rows.batch)}


def sparsify(task: dict[str, Any], rows: Rows) -> float:
    """Trainer with a batch of one context of `batch` tokens."""
    from sparsify import SparseCoderConfig, TrainConfig, Trainer

    coder = SparseCoderConfig(num_latents=task["width"], k=task["k"])
    config = TrainConfig(
        coder, batch_size=1, hookpoints=["site"], lr_warmup_steps=round(WARMUP * rows.steps), log_to_wandb=False,
        save_every=10**9, save_dir=task["out"], run_name="run", **task["set"],
    )  # fmt: skip
    trainer = Trainer(config, Numbers(rows), Replay(rows))
    begun = time.perf_counter()
    trainer.fit()
    return time.perf_counter() - begun


def dictionary_learning(task: dict[str, Any], rows: Rows) -> float:
    """`trainSAE` with activations of unit mean squared norm, as its own demo does."""
    from dictionary_learning import trainers
    from dictionary_learning.trainers.gdm import GatedSAETrainer
    from dictionary_learning.trainers.jumprelu import JumpReluTrainer
    from dictionary_learning.training import trainSAE

    kinds = {"topk": trainers.TopKTrainer, "batchtopk": trainers.BatchTopKTrainer,
             "jumprelu": JumpReluTrainer, "gated": GatedSAETrainer}  # fmt: skip
    config: dict[str, Any] = {
        "trainer": kinds[task["rule"]], "steps": rows.steps, "activation_dim": task["d"], "dict_size": task["width"],
        "layer": 0, "lm_name": "rows", "device": "cpu", "seed": task["seed"],
        "warmup_steps": round(WARMUP * rows.steps), "decay_start": round((1 - DECAY) * rows.steps),
    }  # fmt: skip
    if task["rule"] in ("topk", "batchtopk"):
        config |= {"k": task["k"], "threshold_start_step": rows.steps // 2, "threshold_beta": 0.99}
    else:
        config |= {"sparsity_warmup_steps": round(0.1 * rows.steps)}
    dead_after = task["set"].pop("dead_after", None)
    if dead_after is not None:  # a constant in their trainers
        base = config["trainer"]

        class Trainer(base):
            def __init__(self, *arguments: Any, **settings: Any) -> None:
                super().__init__(*arguments, **settings)
                self.dead_feature_threshold = dead_after

        config["trainer"] = Trainer
    begun = time.perf_counter()
    trainSAE(rows, [config | task["set"]], rows.steps, save_dir=task["out"], normalize_activations=True, device="cpu")
    return time.perf_counter() - begun


def main() -> None:
    task = json.loads(sys.argv[1])
    os.environ["WANDB_MODE"] = "disabled"
    warnings.filterwarnings("ignore")
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(task["seed"])
    rows = Rows(Path(task["rows"]), task["batch"], task["tokens"])
    train = {"SAELens": saelens, "sparsify": sparsify, "dictionary_learning": dictionary_learning}[task["trainer"]]
    seconds = train(task, rows)
    Path(task["out"], "seconds.json").write_text(json.dumps(seconds))


if __name__ == "__main__":
    main()
