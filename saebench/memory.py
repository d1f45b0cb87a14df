"""How the process asks the system for memory."""

import ctypes
import os

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
KEPT_BYTES = 2**31 - 1
PAD_BYTES = 2**26


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next tensor instead of giving it back; call before torch loads.

    glibc maps every large tensor afresh, and clearing those pages cost a third of a harvest's time on 2 cores. With
    this, and with huge pages where torch asks for them, a forward pass ran 1.6 to 2 times as fast. Does nothing where
    the C library has no mallopt.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_TOP_PAD, PAD_BYTES)
