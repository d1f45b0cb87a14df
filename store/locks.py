"""Locks between processes, held on a file of their own; they end with the process that holds them."""

import fcntl
import time
from pathlib import Path
from typing import IO


def acquire(path: Path, patience: float) -> IO[bytes]:
    """The lock of a file, made if need be; closing it gives it back.

    Raises:
        BlockingIOError: another process still has it after `patience` seconds.
    """
    file = path.open("ab")
    give_up = time.monotonic() + patience
    wait = 0.002
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() > give_up:
                file.close()
                raise
        time.sleep(wait)
        wait = min(2 * wait, 0.1)
