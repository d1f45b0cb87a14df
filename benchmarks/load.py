"""A real dashboard under the load of wrk (Debian: apt-get install wrk), which itself takes a tenth of a core."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

DASHBOARD = ("-m", "saebench", "serve", "--workspace", "{workspace}", "--port", "0")
_REPORT = """
local threads = {}
function setup(thread) table.insert(threads, thread) end
function done(summary, latency, requests)
  local failed = 0
  for _, thread in ipairs(threads) do failed = failed + (thread:get("failed") or 0) end
  io.write(string.format(
    '{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "failed": %d, "broken": %d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, failed,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""


@contextmanager
def served(workspace: Path, command: Sequence[str] = DASHBOARD) -> Iterator[tuple[str, int]]:
    """(address, process id) of a server on a workspace, of `saebench serve` if no other is named."""
    arguments = [sys.executable, *(word.format(workspace=workspace) for word in command)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        addresses = (re.search(r"http://[\d.:]+\d", line) for line in process.stdout)
        address = next((found[0] for found in addresses if found), None)
        if address is None:
            sys.exit("the server did not start")
        yield address, process.pid
    finally:
        process.terminate()
        process.wait()


def wrk(address: str, script: str, seconds: float, clients: int = 8) -> dict[str, float]:
    """Requests, latencies and failures of a Lua script with a `request` function; it counts in `failed` itself."""
    program = shutil.which("wrk")
    if program is None:
        sys.exit("this benchmark needs wrk; install it with: apt-get install wrk")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script + _REPORT)
        file.flush()
        command = [program, "-t1", f"-c{clients}", f"-d{seconds:.0f}s", "--timeout", "60s", "-s", file.name, address]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = json.loads(out.splitlines()[-1])
    return {**found, "per_second": found["requests"] / found["seconds"]}


def cpu_seconds(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Memory of a process that is its own, in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty", "Private_Clean"))) / 1024
