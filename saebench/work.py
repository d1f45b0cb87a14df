"""Work that takes long, kept piece by piece in a folder, so that the same call goes on where it stopped."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from saebench.errors import UserError
from saebench.files import atomic_write, write_json
from store.locks import acquire

Model = TypeVar("Model", bound=BaseModel)


@contextmanager
def opened_work(work: Path, about: Mapping[str, Any], busy: str) -> Iterator[None]:
    """A work folder, for this process alone, empty unless what is in it was made from the same.

    Args:
        work: the folder.
        about: what the work is made from, as plain data.
        busy: the error where another process is at it.

    Raises:
        UserError: another process is at it.
    """
    work.mkdir(parents=True, exist_ok=True)
    try:
        lock = acquire(work.with_name(f"{work.name}.lock"), 0)
    except BlockingIOError:
        raise UserError(busy) from None
    with lock:
        settings = work / "made_from.json"
        same = settings.exists() and json.loads(settings.read_text()) == json.loads(json.dumps(about))
        if not same:
            shutil.rmtree(work)
            work.mkdir()
            write_json(settings, about)
        yield


def kept(path: Path, kind: type[Model], make: Callable[[], Model]) -> Model:
    """A piece of work: from its file, or made and written there, whole or not at all.

    Raises:
        UserError: the file is damaged or cannot be written.
    """
    if path.exists():
        try:
            return kind.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise UserError(f"{path} is damaged ({error.errors()[0]['msg']}); delete it and run again") from None
    made = make()
    with atomic_write(path) as file:
        file.write(made.model_dump_json().encode())
    return made
