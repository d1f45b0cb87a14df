"""How near a training step on a GPU is to its floor, the bare encoder product: `python benchmarks/gpu_step.py`.

Timed alternately (see timing.py), in milliseconds with the GPU synchronised: the bfloat16 product of the whole batch;
torch.topk of that product, what selection costs without our kernels; our encode under each selection; encode, decode
and their backward; and the whole step of the training loop (forward, backward, projection, Adam, unit rows). Beside
them what a step allocates: it stops with an error if anything as large as a bfloat16 [batch, latents] was. Writes JSON
with the hardware, the versions and the date to --out. Needs a CUDA GPU.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from gpu_memory import allocations
from timing import alternate, machine, ratio

from saebench.kernels import Above, PerBatch, PerLatent, PerToken, Selection, decode, encode
from saebench.saes import initialise
from saebench.training import TrainConfig
from saebench.training.state import State, new_state
from saebench.training.step import step

RULES = ("topk", "batchtopk", "jumprelu")


def synchronised(function: Callable[[], object]) -> Callable[[], None]:
    """The function, and a wait for the GPU."""

    def run() -> None:
        function()
        torch.cuda.synchronize()

    return run


def state_of(rule: str, d: int, m: int, k: int, x: torch.Tensor) -> State:
    """A run of a rule before its first step, fitted to activations."""
    settings = {"jumprelu": {"initial_l0": k}}.get(rule, {"k": k})
    config = TrainConfig.model_validate(
        {"sae": {"n_latents": m, "rule": {"name": rule, **settings}}, "batch": len(x), "device": "cuda"}
    ).resolve(d)
    state = new_state(config, d)
    initialise(state.sae, x)
    return state


def selections(x: torch.Tensor, W: torch.Tensor, b: torch.Tensor, k: int) -> dict[str, Selection]:
    """One of each kind, all of about k entries per token."""
    codes = encode(x, W, b, PerBatch(k))
    threshold = codes.values.min()
    budgets = codes.pattern.by_latent.offsets.diff().clamp(min=1).long()
    return {
        "per_token": PerToken(k),
        "per_batch": PerBatch(k),
        "per_batch_expected": PerBatch(k, float(threshold)),
        "per_latent": PerLatent(budgets),
        "above": Above(threshold.expand(len(W)).contiguous()),
    }


def sparse_work(x: torch.Tensor, W: torch.Tensor, b: torch.Tensor, k: int) -> Callable[[], object]:
    """Encode, decode and the backward of both, without the optimiser."""
    weights = [t.detach().clone().requires_grad_() for t in (W, b, W, x.new_zeros(x.shape[1]))]

    def run() -> object:
        W_enc, b_enc, W_dec, b_dec = weights
        codes = encode(x, W_enc, b_enc, PerToken(k), centre=b_dec)
        return torch.autograd.grad((decode(codes, W_dec, b_dec) - x).square().sum(), weights)

    return run


def measure(d: int, m: int, k: int, batch: int, repetitions: int) -> dict:
    x = torch.randn(batch, d, generator=torch.Generator().manual_seed(0)).cuda()
    states = {rule: state_of(rule, d, m, k, x) for rule in RULES}
    W, b = (t.detach().clone() for t in (states["topk"].sae.W_enc, states["topk"].sae.b_enc))
    half = x.bfloat16(), W.bfloat16(), b.bfloat16()
    timed: dict[str, Callable[[], object]] = {
        "product": lambda: torch.addmm(half[2], half[0], half[1].T),
        "product_and_topk": lambda: torch.addmm(half[2], half[0], half[1].T).topk(k, sorted=False),
    }
    with torch.no_grad():
        kinds = selections(x, W, b, k)
    for name, selection in kinds.items():
        timed[f"encode_{name}"] = lambda selection=selection: encode(x, W, b, selection)
    timed["encode_decode_backward"] = sparse_work(x, W, b, k)
    for rule, state in states.items():
        timed[f"step_{rule}"] = lambda state=state: step(state, x, 1e-5)
    dense = batch * m * torch.bfloat16.itemsize
    memory = {}
    for name in ("encode_decode_backward", *(f"step_{rule}" for rule in RULES)):
        timed[name]()  # compiles, and makes the optimiser's state
        largest, risen = allocations(timed[name])
        if largest >= dense:
            raise SystemExit(f"gpu_step: {name} allocated {largest} bytes at once, a [batch, latents] has {dense}")
        memory[name] = {"largest_allocation_mib": largest >> 20, "risen_mib": risen >> 20}
    times = alternate({name: synchronised(function) for name, function in timed.items()}, repetitions, warm_up=3)
    medians = {name: round(statistics.median(spent), 3) for name, spent in times.items()}
    return {
        "d": d,
        "m": m,
        "k": k,
        "batch": batch,
        "kernel": states["topk"].sae.kernel.to_data(),
        "milliseconds": medians,
        "over_product": {name: round(ratio(times, name, "product"), 2) for name in times if name != "product"},
        "encode_over_product_and_topk": round(ratio(times, "encode_per_token", "product_and_topk"), 2),
        "product_tflops": round(2 * batch * d * m / medians["product"] / 1e9, 1),
        "memory": memory,
        "dense_bfloat16_mib": dense >> 20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("d", 2304), ("m", 65536), ("k", 64), ("batch", 8192), ("repetitions", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu_step.json"))
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("gpu_step: torch finds no CUDA GPU on this machine; run it on one, with a CUDA build of torch")
    import triton

    sizes = {name: getattr(arguments, name) for name in ("d", "m", "k", "batch", "repetitions")}
    gpu = torch.cuda.get_device_properties(0)
    hardware = {"gpu": gpu.name, "gpu_memory_gib": gpu.total_memory >> 30, "multiprocessors": gpu.multi_processor_count}
    versions = {"cuda": torch.version.cuda, "triton": triton.__version__}
    results = {**machine(), **hardware, **versions, **measure(**sizes)}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
