"""Make the next items of an iterator in a thread while the last ones are used."""

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")
DEPTH = 2


class _End:
    """What the thread sends last: the error that stopped it, if any."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def prefetch(items: Iterator[T], depth: int = DEPTH) -> Iterator[T]:
    """The same items in the same order, up to `depth` of them made ahead; errors are raised here.

    The thread ends with the iterator: closing this generator closes `items`, too.
    """
    ready: queue.Queue[T | _End] = queue.Queue(depth)
    stopped = threading.Event()

    def offer(item: T | _End) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if not offer(item):
                    break
        except BaseException as raised:  # handed over, whatever it is
            error = raised
        finally:
            if hasattr(items, "close"):
                items.close()
        offer(_End(error))

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stopped.set()
        thread.join()
