"""Train the bundled demo model: `python -m saebench.lm.demo_model.train`.

Decisions: GPT-2 as transformers has it, so that every tool reads the result; Muon on the hidden matrices
(Jordan et al. 2024; about twice AdamW's sample efficiency here) and AdamW on the rest; constant rate, then
linear to zero. Stopped at any moment it goes on from the last checkpoint.
"""

import argparse
import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from saebench.lm.demo_model.sources import gather
from saebench.lm.demo_model.tokens import cached_contexts, encode_sources, pack, train_tokenizer


def build_model(model: dict, seed: int) -> GPT2LMHeadModel:
    """A fresh GPT-2 without dropout (one pass over data larger than the model can store)."""
    torch.manual_seed(seed)
    return GPT2LMHeadModel(
        GPT2Config(
            **model, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0, use_cache=False
        )
    )


def optimizers(model: nn.Module, muon_lr: float, adam_lr: float) -> list[Optimizer]:
    """Muon for the blocks' matrices, AdamW for embeddings, layer norms and biases."""
    hidden = [p for name, p in model.named_parameters() if p.ndim == 2 and ".h." in name]
    rest = [p for name, p in model.named_parameters() if not (p.ndim == 2 and ".h." in name)]
    return [
        Muon(hidden, lr=muon_lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        AdamW(rest, lr=adam_lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]


def rate(step: int, steps: int, warmup: int, decay: float) -> float:
    """Share of the peak learning rate: linear warm-up, constant, linear to zero over the last `decay`."""
    return min(1.0, (step + 1) / warmup, (steps - step) / (decay * steps))


def save_state(path: Path, model: nn.Module, opts: list[Optimizer], step: int) -> None:
    """Write weights, optimiser state and step atomically as one safetensors file."""
    state = {f"model.{k}": v for k, v in model.state_dict().items() if k != "lm_head.weight"}
    for i, opt in enumerate(opts):
        for index, values in opt.state_dict()["state"].items():
            state |= {f"opt.{i}.{index}.{k}": torch.as_tensor(v) for k, v in values.items()}
    save_file({k: v.contiguous() for k, v in state.items()}, path.with_suffix(".tmp"), {"step": str(step)})
    path.with_suffix(".tmp").replace(path)


def load_state(path: Path, model: nn.Module, opts: list[Optimizer]) -> int:
    """Restore what `save_state` wrote; returns the step it was written at."""
    with safe_open(path, "pt") as file:
        step = int(file.metadata()["step"])
    state = load_file(path)
    weights = {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}
    model.load_state_dict(weights | {"lm_head.weight": weights["transformer.wte.weight"]})
    for i, opt in enumerate(opts):
        full = opt.state_dict()
        entries: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            if key.startswith(f"opt.{i}."):
                _, _, index, name = key.split(".")
                entries.setdefault(int(index), {})[name] = value
        opt.load_state_dict({"state": entries, "param_groups": full["param_groups"]})
    return step


def prepare(config: dict, packages: Path, work: Path) -> np.ndarray:
    """Tokenizer and packed contexts, each made once under `work`."""
    data, model = config["data"], config["model"]

    def build() -> np.ndarray:
        sources = list(gather(packages, library_repeats=data["library_repeats"], test_repeats=data["test_repeats"]))
        if not (work / "tokenizer.json").exists():
            sample = [s for s in sources if s.repeats > 1] + sources[::8]
            train_tokenizer(sample, model["vocab_size"]).save_pretrained(work)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(work)
        documents = encode_sources(tokenizer, sources)
        groups: dict[str, list[int]] = {}
        for source, ids in zip(sources, documents, strict=True):
            entry = groups.setdefault(source.name, [0, 0, 0])
            entry[:] = [entry[0] + 1, entry[1] + len(source.text.encode()), entry[2] + len(ids)]
        (work / "data.json").write_text(json.dumps(groups, indent=1))
        return pack(
            documents,
            [s.repeats for s in sources],
            length=model["n_positions"] + 1,
            bos=tokenizer.bos_token_id,
            vocab_size=model["vocab_size"],
            repeated_spans=data["repeated_spans"],
            seed=data["seed"],
        )

    return cached_contexts(work / "contexts.npy", build)


def train(config: dict, contexts: np.ndarray, work: Path) -> GPT2LMHeadModel:
    """Run (or go on with) training on `contexts`, checkpoints and a JSONL log under `work`."""
    settings = config["training"]
    batch, length = settings["batch_contexts"], config["model"]["n_positions"]
    steps = settings["tokens"] // (batch * length)
    if steps * batch > len(contexts):
        raise SystemExit(f"the data holds {len(contexts) * length:,} tokens, fewer than training.tokens; lower it")
    model = build_model(config["model"], settings["seed"])
    opts = optimizers(model, settings["muon_lr"], settings["adam_lr"])
    peaks = [opt.param_groups[0]["lr"] for opt in opts]
    checkpoint = work / "state.safetensors"
    first = load_state(checkpoint, model, opts) if checkpoint.exists() else 0

    @torch.compile
    def loss_of(ids: Tensor) -> Tensor:
        hidden = model.transformer(ids[:, :-1]).last_hidden_state
        return nn.functional.cross_entropy(model.lm_head(hidden).flatten(0, 1), ids[:, 1:].flatten())

    for step in range(first, steps):
        started = time.perf_counter()
        ids = torch.from_numpy(contexts[step * batch : (step + 1) * batch].astype(np.int64))
        share = rate(step, steps, settings["warmup_steps"], settings["decay"])
        for opt, peak in zip(opts, peaks, strict=True):
            opt.param_groups[0]["lr"] = peak * share
            opt.zero_grad()
        loss = loss_of(ids)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
        if not math.isfinite(loss.item()):
            raise SystemExit(f"loss is {loss.item()} at step {step}; lower the learning rates")
        record = {
            "step": step,
            "loss": loss.item(),
            "rate": share,
            "tokens_per_second": batch * length / (time.perf_counter() - started),
        }
        with (work / "log.jsonl").open("a") as log:
            log.write(json.dumps(record) + "\n")
        if (step + 1) % settings["checkpoint_steps"] == 0 or step + 1 == steps:
            save_state(checkpoint, model, opts, step + 1)
    return model


def main() -> None:
    """Command line: prepare data, train, write the Hugging Face folder in half precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/demo-lm.yaml"))
    parser.add_argument("--packages", type=Path, required=True, help="folder with the unpacked packages")
    parser.add_argument("--work", type=Path, required=True, help="folder for data, checkpoints and log")
    parser.add_argument("--out", type=Path, required=True, help="Hugging Face folder to write")
    arguments = parser.parse_args()
    config = yaml.safe_load(arguments.config.read_text())
    arguments.work.mkdir(parents=True, exist_ok=True)
    contexts = prepare(config, arguments.packages, arguments.work)
    model = train(config, contexts, arguments.work)
    model.half().save_pretrained(arguments.out)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(arguments.work / name, arguments.out / name)


if __name__ == "__main__":
    main()
