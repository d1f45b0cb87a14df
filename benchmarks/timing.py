"""Timing things against each other: alternately, in one process, with medians and the machine they ran on.

Alternation lets other load on the machine fall on all of them alike; so a ratio is the median of the rounds' ratios.
On a machine that does other work too, set OMP_WAIT_POLICY=PASSIVE: else threads that spin at each barrier multiply the
times.
"""

import ctypes
import datetime
import gc
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

Clock = Callable[[], float]


def milliseconds(function: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """How long one call takes."""
    start = clock()
    function()
    return (clock() - start) * 1e3


def alternate(
    timed: Mapping[str, Callable[[], object]],
    repetitions: int = 9,
    warm_up: int = 2,
    seconds: float | None = None,
    clock: Clock = time.perf_counter,
) -> dict[str, list[float]]:
    """Milliseconds of every round of each function, called in turn. After `seconds` no round begins, but for three.

    With time.process_time as the clock they are those of all threads together, which other load changes little.
    """
    times: dict[str, list[float]] = {name: [] for name in timed}
    gc.collect()
    gc.disable()
    begun = time.perf_counter()
    try:
        for repetition in range(-warm_up, repetitions):
            if seconds and repetition >= 3 and time.perf_counter() - begun > seconds:
                break
            for name, function in timed.items():
                spent = milliseconds(function, clock)
                if repetition >= 0:
                    times[name].append(spent)
    finally:
        gc.enable()
    return times


def ratio(times: Mapping[str, list[float]], of: str, to: str) -> float:
    """Median over the rounds of one function's time in that of another."""
    return statistics.median(a / b for a, b in zip(times[of], times[to], strict=True))


def peak_extra_bytes(function: Callable[[], object]) -> int:
    """By how much the resident memory of this process rises above where it stood, at most, while a function runs.

    Counted by the kernel (Linux; VmHWM, reset before), so compiled code and allocators are in it. What the C library
    keeps of freed memory is given back before.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    status = Path("/proc/self/status")
    Path("/proc/self/clear_refs").write_text("5")
    before = _kilobytes(status, "VmRSS")
    function()
    return (_kilobytes(status, "VmHWM") - before) * 1024


def _kilobytes(status: Path, field: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(field))


def machine() -> dict:
    """What the numbers were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    sets = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    return {
        "cpu": fields.get("model name", platform.processor()),
        "instructions": [name for name in sets if name in fields.get("flags", "").split()],
        "threads": torch.get_num_threads(), "torch": str(torch.__version__), "python": platform.python_version(),
        "load_average_before": round(os.getloadavg()[0], 2), "process_threads": threading.active_count(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }  # fmt: skip
