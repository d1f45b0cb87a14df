"""The dashboard as a process of its own, which can be killed, and the processes that it leaves or does not leave."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]


def wait_for(what: Callable[[], object], seconds: float = 90) -> None:
    give_up = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < give_up, "waited too long"
        time.sleep(0.1)


def processes(workspace: Path) -> list[int]:
    """Processes whose command line names a workspace."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(workspace).encode() in line:
            found.append(int(folder.name))
    return found


def serve(workspace: Path) -> tuple[subprocess.Popen[str], str]:
    """A server and its address."""
    code = "import sys; from pathlib import Path; from web.server import serve\nserve(Path(sys.argv[1]), port=0)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(workspace)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    address = re.search(r"http://[^/]*", process.stdout.readline())
    assert address is not None
    return process, address.group()
