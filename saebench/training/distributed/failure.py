"""Joining the processes that torchrun started, and ending together when one of them cannot go on.

Decisions: a process that fails leaves its reason in the store that all joined through and leaves the group, which ends
the collectives that the others wait in; they find the reason there. So nothing has to be agreed upon before each step,
and a process that was killed is noticed the same way, without a reason. Rank 0 speaks; another does where rank 0 has
not within `PATIENCE`.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.distributed.nn  # see `_leave`

from saebench.errors import UserError
from saebench.saes.axis import RankLostError
from store import StoreError

TIMEOUT = timedelta(minutes=10)
"""After this a collective in which a process is missing fails."""
PATIENCE = 15.0
"""Seconds to wait for what another process has to say."""
REASON, SAID, LEFT = "saebench/reason", "saebench/said", "saebench/left"
LOST = (
    "another process of this run ended without giving a reason (killed, or out of memory?); "
    "run the same command again to continue"
)


@contextmanager
def launched(report: Callable[[str], None] | None = None, timeout: timedelta = TIMEOUT) -> Iterator[None]:
    """Be one of torchrun's processes while this lasts; nothing, in one process or where they are joined already.

    A process that has died is noticed at once; one that is only late, after `timeout`.

    What ends one process with a UserError (or StoreError) ends them all: with a UserError of the same text, or, given
    `report`, with one line reported and exit code 1. Raises UserError where the processes cannot be joined.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    store = _join(timeout)
    try:
        yield
        _part()
    except BaseException as error:
        message = _reason(error, store)
        _leave()
        if message is not None and report and (is_first() or _await(SAID, store, PATIENCE) is None):
            report(message)
        _say(SAID, "yes", store)
        _part_from(store)
        if message is None:  # not for the user: a traceback
            raise
        if report is None:
            raise UserError(message) from None
        raise SystemExit(1) from None
    _leave()


def is_first() -> bool:
    """Whether this is the only process, or the one of torchrun's that writes and speaks."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1 or int(os.environ.get("RANK", "0")) == 0


def _join(timeout: timedelta) -> dist.Store:
    try:
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        store, rank, size = next(dist.rendezvous("env://", timeout=TIMEOUT))
        backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
    except (RuntimeError, ValueError) as error:
        size, why = os.environ["WORLD_SIZE"], str(error).splitlines()[0]
        raise UserError(f"the {size} processes of this run cannot reach each other: {why}") from None
    return store


def _part() -> None:
    """Wait for the others to come to the end, too."""
    try:
        dist.barrier()
    except RuntimeError as error:
        raise RankLostError(str(error)) from None


def _leave() -> None:
    """Leave the group, which ends its threads: one that gives a tensor back while Python ends aborts the process.

    The functions of torch.distributed.nn have the group there is when they are first imported (optimisers import them)
    as a default and would keep it for ever; so they are imported before there is one.
    """
    with suppress(RuntimeError):
        dist.destroy_process_group()


def _reason(error: BaseException, store: dist.Store) -> str | None:
    """The one line that all processes end with; None where this one's own error is not for the user's eyes."""
    if isinstance(error, RankLostError):
        return _await(REASON, store, PATIENCE / 3) or LOST
    rank = int(os.environ["RANK"])
    for_user = isinstance(error, UserError | StoreError)
    own = str(error) if for_user else f"{type(error).__name__}: {error}"
    _say(REASON, own if rank == 0 else f"{own} (process {rank})", store)
    return own if for_user else None


def _part_from(store: dist.Store) -> None:
    """Keep the store until the others have read it, too: the first process may be the one that has it."""
    until = time.monotonic() + PATIENCE / 5
    with suppress(RuntimeError):
        store.add(LEFT, 1)
        while is_first() and store.add(LEFT, 0) < int(os.environ["WORLD_SIZE"]) and time.monotonic() < until:
            time.sleep(0.05)


def _say(key: str, what: str, store: dist.Store) -> None:
    """Leave something in the store, if nothing is there yet."""
    with suppress(RuntimeError):
        store.compare_set(key, "", what)


def _await(key: str, store: dist.Store, seconds: float) -> str | None:
    """What is in the store under a key, at the latest when the seconds are over."""
    until = time.monotonic() + seconds
    with suppress(RuntimeError):
        while time.monotonic() < until:
            if store.check([key]):
                return store.get(key).decode()
            time.sleep(0.05)
    return None
