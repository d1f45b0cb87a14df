"""The compiled kernels of `sparse.c`: built at first use by the system's C compiler, called through ctypes.

Decisions:
- C, not a torch extension: one file, a second to compile, no headers, any Python and torch.
- The library lies in the user's cache folder under a hash of source, command and CPU, written whole or not at all, so
  runs side by side and machines that share a home folder do not disturb each other.
- It links the OpenMP runtime that torch has loaded: two runtimes would each keep threads that spin against the other's.
- Where there is no compiler, or SAEBENCH_NATIVE=0, torch operators do the work. `Kernel.native` says which, and a run
  notes it: the two add up in different orders.
"""

import ctypes
import hashlib
import os
import platform
import re
import subprocess
import tempfile
from ctypes import c_float, c_int, c_int64, c_void_p
from functools import cache
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor

FLAGS = ("-O3", "-march=native", "-fPIC", "-fopenmp", "-std=gnu11")
TIMEOUT = 120
"""Seconds after which the compiler is given up."""

SIGNATURES = {
    "has_half": (c_int, []),
    "sampled_dot": (None, [c_void_p] * 4 + [c_int64] * 2 + [c_void_p, c_int]),
    "gather_sum": (None, [c_void_p] * 7 + [c_int64] * 2 + [c_void_p, c_int]),
    "sort_by_column": (c_int, [c_void_p] * 2 + [c_int64] * 2 + [c_void_p] * 3),
    "project_rows": (None, [c_void_p] * 2 + [c_int64] * 2 + [c_int]),
    "unit_rows": (None, [c_void_p] + [c_int64] * 2 + [c_int]),
    "search_new": (
        c_void_p,
        [c_void_p, c_void_p, c_int64] * 2
        + [c_int64, c_void_p, c_int]
        + [c_void_p] * 4
        + [c_int64, c_int, c_float, c_int, c_int],
    ),
    "search_run": (None, [c_void_p]),
    "scan": (None, [c_void_p, c_void_p, c_int] + [c_int64] * 5),
    "search_finish": (c_int64, [c_void_p, c_int64]),
    "search_write": (c_int, [c_void_p, c_int, c_int64] + [c_void_p] * 3),
    "search_free": (None, [c_void_p]),
}


def available() -> bool:
    """Whether the compiled kernels can be used here; compiles them the first time."""
    return os.environ.get("SAEBENCH_NATIVE", "1") != "0" and _load()[0] is not None


def why_not() -> str:
    """Why they cannot, in one line; empty where they can."""
    return "SAEBENCH_NATIVE=0" if os.environ.get("SAEBENCH_NATIVE", "1") == "0" else _load()[1]


def library() -> ctypes.CDLL:
    """The compiled kernels. Raises ValueError where there are none."""
    found, why = _load()
    if found is None:
        raise ValueError(f"the native kernels cannot be used here: {why}")
    return found


def pointer(tensor: Tensor | None) -> int | None:
    """Address of a contiguous tensor's data; None stays None."""
    if tensor is None:
        return None
    assert tensor.is_contiguous()
    assert tensor.device.type == "cpu"
    return tensor.data_ptr()


@cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    """The library and, where there is none, why."""
    try:
        loaded = ctypes.CDLL(str(_build()))
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or error
        return None, (str(detail).strip().splitlines() or ["it failed without a word"])[0]
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded, ""


def _build() -> Path:
    """Path of the compiled library. Raises OSError or SubprocessError where it cannot be made."""
    source = resources.files("saebench.kernels").joinpath("sparse.c").read_bytes()
    compiler = os.environ.get("CC", "cc").split()
    runtime = _openmp_runtime()
    link = [str(runtime)] if runtime else ["-fopenmp"]
    identity = [source.decode(), *compiler, *FLAGS, *link, _cpu(), torch.__version__]
    folder = _cache_folder()
    target = folder / f"sparse-{hashlib.sha256('|'.join(identity).encode()).hexdigest()[:24]}.so"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        code, unit, made = (Path(work) / name for name in ("sparse.c", "sparse.o", "sparse.so"))
        code.write_bytes(source)
        for command in (
            [*compiler, *FLAGS, "-c", str(code), "-o", str(unit)],
            [*compiler, "-shared", str(unit), "-o", str(made), *link, "-lm"],
        ):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT)
        made.replace(target)
    return target


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "saebench" / "kernels"


def _openmp_runtime() -> Path | None:
    """The OpenMP library in this process (torch has loaded it), where the system tells."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return None
    for line in maps.read_text().splitlines():
        path = line.split(maxsplit=5)[-1]
        if "torch" in path and re.search(r"/lib(gomp|iomp5|omp)[^/]*\.so[^/]*$", path):
            return Path(path)
    return None


def _cpu() -> str:
    """What -march=native depends on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
    return "|".join([platform.machine(), platform.processor(), *sorted(named)])
