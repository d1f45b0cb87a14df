"""Compiles every Triton kernel as its launcher would start it, without a GPU: `python compile_ahead.py 80 90`.

Run by `test_triton_compile.py` in a process of its own, since the other tests import triton with its interpreter. The
launchers run on CPU tensors of realistic width, but where they would start a kernel, it is compiled for each
architecture instead, specialised as Triton's own launcher would: by types, by divisibility by 16, by constants. Prints
one JSON object per kernel, architecture and variant.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import mangle_type

from saebench.kernels import SparseCodes
from saebench.kernels.triton import exact, gather, maxima, operands, rows, segments

CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
OPTIONS = ("num_warps", "num_stages")
seen: set[str] = set()


def compile_instead(kernel: Any, grid: tuple[int, ...], *arguments: Any, **options: Any) -> None:
    """Takes the place of `launch`."""
    assert all(isinstance(size, int) for size in grid)
    constants = {name: value for name, value in options.items() if name not in OPTIONS}
    signature, hints = dict.fromkeys(constants, "constexpr"), {}
    for number, (parameter, argument) in enumerate(zip(kernel.params, arguments, strict=False)):
        signature[parameter.name] = mangle_type(argument)
        address = argument.data_ptr() if isinstance(argument, torch.Tensor) else argument
        if address % 16 == 0 and not parameter.do_not_specialize:
            hints[(number,)] = [["tt.divisibility", 16]]
    signature = {name: signature[name] for name in kernel.arg_names}
    source = ASTSource(kernel, signature, constants, hints)
    name = f"{kernel.__name__} {source.hash()} {options}"
    if name in seen:
        return
    seen.add(name)
    for capability in map(int, sys.argv[1:]):
        target = GPUTarget("cuda", capability, 32)
        made = triton.compile(source, target, {name: options[name] for name in OPTIONS if name in options})
        usage = resources(made.asm["cubin"])
        facts = {"kernel": kernel.__name__, "capability": capability, "constants": constants, **usage}
        facts |= {"ptx": len(made.asm["ptx"]), "cubin": len(made.asm["cubin"]), "shared": made.metadata.shared}
        facts |= {"tensor_cores": sum(made.asm["ptx"].count(word) for word in ("mma.sync", "wgmma.mma_async"))}
        print(json.dumps(facts), flush=True)


def resources(cubin: bytes) -> dict[str, int]:
    """Registers and bytes of stack (spilled registers) per thread."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        said = subprocess.run(
            [CUOBJDUMP, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        )
    words = dict(word.split(":", 1) for word in said.stdout.replace("\n", " ").split() if word.count(":") == 1)
    return {"registers": int(words["REG"]), "stack": int(words["STACK"])}


def encoder(width: int, n_tokens: int, n_latents: int) -> None:
    """Start the launchers of selection, in both precisions, both ways round."""
    x, W, bias = torch.zeros(n_tokens, width), torch.zeros(n_latents, width), torch.zeros(n_latents)
    for bfloat16 in (True, False):
        left, right = operands.prepare(x, bfloat16), operands.prepare(W, bfloat16)
        maxima.group_maxima(left, right, bias, False)
        maxima.group_maxima(right, left, bias, True)
    pairs = torch.zeros(256, dtype=torch.int64), torch.zeros(256, dtype=torch.int64)
    exact.exact_groups(left, right, bias, False, pairs)
    exact.exact_groups(right, left, bias, True, pairs)
    starts, ks = torch.arange(n_tokens + 1) * 64, torch.ones(n_tokens, dtype=torch.int64)
    with patch.object(torch, "empty", torch.zeros):  # the counts are never computed: none taken
        rows.largest(torch.zeros(n_tokens * 64), starts, ks)


def sparse(width: int, n_tokens: int, n_latents: int) -> None:
    """Start the launchers of decoding and of the gradients."""
    x, W = torch.zeros(n_tokens, width), torch.zeros(n_latents, width)
    offsets = torch.arange(n_tokens + 1) * 4
    codes = SparseCodes(torch.ones(4 * n_tokens), torch.zeros(4 * n_tokens, dtype=torch.int32), offsets, n_latents)
    gather.weighted_sums(codes, codes.values, W)
    parts = segments.chunks(codes)
    segments.by_latent(parts, x, codes.values, W)
    segments.by_latent(parts, x, codes.values)
    segments.by_latent(parts, x, None, W)
    segments.by_latent(parts, torch.ones(n_tokens, 1), codes.values)


if __name__ == "__main__":
    for module in (exact, gather, maxima, operands, rows, segments):
        module.launch = compile_instead
    encoder(width=2304, n_tokens=256, n_latents=4096)
    encoder(width=20, n_tokens=256, n_latents=300)
    sparse(width=2304, n_tokens=256, n_latents=4096)
    sparse(width=100, n_tokens=250, n_latents=300)
