"""What a command does for whoever started it as a job: say how far it is, and end with it.

The dashboard starts commands with two environment variables: SAEBENCH_PROGRESS names a file that progress is appended
to, one JSON object per line; SAEBENCH_JOB_OF is the process to end with. A command started by a person has neither.
"""

import ctypes
import json
import os
import signal
import time
from pathlib import Path

PROGRESS, JOB_OF = "SAEBENCH_PROGRESS", "SAEBENCH_JOB_OF"
_PR_SET_PDEATHSIG = 1
_SECONDS_APART = 0.25


class ProgressFile:
    """Appends how far one task is, at most four times a second, and always its start and end."""

    def __init__(self, path: Path, what: str, total: int | None) -> None:
        """Start a task.

        Args:
            path: the file, made if need be.
            what: the task in a word.
            total: how many steps there are, if that is known.
        """
        self._path, self._what, self._total = path, what, total
        self._begun = self._written = time.monotonic()
        self._write(0, "")

    def __call__(self, done: int, note: str = "") -> None:
        """Say how many steps are done."""
        now = time.monotonic()
        if done == self._total or now - self._written >= _SECONDS_APART:
            self._written = now
            self._write(done, note)

    def _write(self, done: int, note: str) -> None:
        elapsed = round(time.monotonic() - self._begun, 2)
        row = {"what": self._what, "done": done, "total": self._total, "note": note, "elapsed": elapsed}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def progress_file(what: str, total: int | None) -> ProgressFile | None:
    """Where this command is to report a task; None if nobody asked."""
    path = os.environ.get(PROGRESS)
    return ProgressFile(Path(path), what, total) if path else None


def end_with_parent() -> None:
    """Die when the process that started this one as a job dies, however it dies (Linux; elsewhere nothing happens)."""
    parent = os.environ.get(JOB_OF)
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if parent is None or prctl is None:
        return
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it died before it could be followed
        raise SystemExit(1)
