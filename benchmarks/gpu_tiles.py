"""Which tiles make the proposing and the deciding product fastest on this GPU: `python benchmarks/gpu_tiles.py`.

Times `group_maxima` and `exact_groups` under a list of tile sizes, against the bare bfloat16 product, and writes JSON
to --out. The kernels choose no tiles by a timing; this shows which should be written into them. Needs a CUDA GPU.
"""

import argparse
import json
import statistics
from pathlib import Path

import torch
from gpu_step import synchronised
from timing import alternate, machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("d", 2304), ("m", 65536), ("k", 64), ("batch", 8192), ("repetitions", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu_tiles.json"))
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit(
            "gpu_tiles: torch finds no CUDA GPU on this machine; run it on one, with a CUDA build of torch"
        )
    from triton.runtime.errors import OutOfResources

    from saebench.kernels.triton import exact, maxima
    from saebench.kernels.triton.operands import prepare

    batch, m, k = arguments.batch, arguments.m, arguments.k
    g = torch.Generator().manual_seed(0)
    x, W = (prepare(torch.randn(n, arguments.d, generator=g).cuda(), True) for n in (batch, m))
    bias = torch.zeros(m, device="cuda")
    n_groups = -(-m // maxima.GROUP)
    pairs = torch.arange(batch, device="cuda").repeat_interleave(k), torch.randint(n_groups, (batch * k,)).cuda()
    proposing = [
        {"TILE_ROWS": rows, "TILE_COLUMNS": columns, "TILE_WIDTH": 64, "num_warps": warps, "num_stages": stages}
        for rows, columns, warps in ((128, 256, 8), (128, 128, 4), (128, 128, 8), (256, 128, 8), (64, 256, 4))
        for stages in (3, 4)
    ]
    deciding = [
        {"TILE_PAIRS": rows, "TILE_WIDTH": 32, "num_warps": warps, "num_stages": stages}
        for rows, warps in ((128, 8), (128, 4), (64, 4), (256, 8))
        for stages in (3, 4)
    ]

    def milliseconds(module: object, name: str, tile: dict, run: object) -> float | None:
        setattr(module, name, tile)
        try:
            times = alternate({"it": synchronised(run)}, arguments.repetitions)
        except OutOfResources:
            return None
        return round(statistics.median(times["it"]), 3)

    product = alternate({"it": synchronised(lambda: x.proposal @ W.proposal.T)}, arguments.repetitions)
    results = {
        **machine(),
        "gpu": torch.cuda.get_device_name(0),
        "product_ms": round(statistics.median(product["it"]), 3),
        "group_maxima_ms": [
            tile | {"ms": milliseconds(maxima, "BFLOAT16", tile, lambda: maxima.group_maxima(x, W, bias, False))}
            for tile in proposing
        ],
        "exact_groups_ms": [
            tile | {"ms": milliseconds(exact, "TILE", tile, lambda: exact.exact_groups(x, W, bias, False, pairs))}
            for tile in deciding
        ],
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
