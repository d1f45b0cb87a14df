"""Files of a workspace by their names: ids that can name one, and whether one has changed since it was read."""

from pathlib import Path

from store import StoreError
from store.workspace import check_id
from web.errors import ProblemError

Changed = tuple[int, int]
"""A file's time and size: what is read of it is kept until they are others."""


def state_of(path: Path) -> Changed | None:
    """When a file was last written, and its size; None where there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size


def checked_id(asked: str) -> str:
    """An id that can name a file. Raises ProblemError 422."""
    try:
        return check_id(asked)
    except StoreError as error:
        raise ProblemError(422, "That cannot be an id", f"id: {error}.") from None
