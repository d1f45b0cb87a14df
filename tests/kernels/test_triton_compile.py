"""Every Triton kernel compiles ahead of time for the A100 (sm_80) and the H100 (sm_90), and fits them."""

import json
import os
import subprocess
import sys
from pathlib import Path

SHARED = {80: 163 * 1024, 90: 227 * 1024}
"""Shared memory of one thread block at the most, bytes (CUDA C++ Programming Guide, compute capabilities)."""
KERNELS = {"_round_rows", "_group_maxima", "_exact_groups", "_cuts", "_take", "_weighted_sums", "_by_latent"}


def test_kernels_compile_for_sm_80_and_sm_90(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    script = Path(__file__).with_name("compile_ahead.py")
    done = subprocess.run([sys.executable, script, "80", "90"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    compiled = [json.loads(line) for line in done.stdout.splitlines()]
    for capability in (80, 90):
        assert {made["kernel"] for made in compiled if made["capability"] == capability} >= KERNELS | {"_add_chunks"}
    for made in compiled:
        assert made["cubin"] > 1000, made
        assert made["ptx"] > 1000, made
        assert made["shared"] <= SHARED[made["capability"]], made
        assert made["registers"] <= 255, made
        assert made["stack"] <= 64, made  # bytes per thread: hardly a register spilled
        if made["kernel"] in ("_group_maxima", "_exact_groups"):
            assert made["tensor_cores"] > 0, made
