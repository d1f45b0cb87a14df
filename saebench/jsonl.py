"""Files of examples: a JSON line about the file, then one for each example. Every mistake names its line."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from saebench.errors import UserError
from saebench.files import atomic_write

Row = TypeVar("Row")


def read_headed(
    path: Path,
    what: str,
    head: tuple[str, str],
    check: Callable[[dict[str, Any]], object],
    row: Callable[[Any], Row],
    like: str,
) -> tuple[dict[str, Any], list[Row]]:
    """Read a file of examples.

    Args:
        path: the file.
        what: what it is called in errors: `task`, `data`, `questions`.
        head: the key of the first line that holds the name, and what such a line looks like.
        check: raises where the first line, with the name under `name`, is not what it should be.
        row: makes an example of a later line's value.
        like: what such a line looks like.

    Returns:
        The first line, with the name under `name`, and the examples.

    Raises:
        UserError: no such file, a line that is not what it should be, no examples.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"cannot read {what} {path}: it is not UTF-8 text") from None
    except OSError as error:
        raise UserError(f"cannot read {what} {path}: {error.strerror or error}") from None
    lines = (
        text.removesuffix("\n").split("\n") if text else []
    )  # splitlines would also break at U+2028, as JSON may hold
    key, head_like = head
    about: dict[str, Any] = {}
    rows: list[Row] = []
    for number, line in enumerate(lines, 1):
        where, shape = f"{path}, line {number}", head_like if number == 1 else like
        value = _object(line, where, shape)
        try:
            if number > 1:
                rows.append(row(value))
                continue
            if key not in value:
                raise UserError(f"{where}: the key {key!r} is missing; it should look like {shape}")
            if "name" in value:
                raise UserError(f"{where}: the key 'name' is unknown; the name stands under {key!r}")
            about = {"name": value.pop(key), **value}
            check(about)
        except ValidationError as error:
            raise UserError(f"{where}: {first_of(error)}") from None
        except TypeError:  # of `check`, by a key that says of the whole what the lines below say
            raise UserError(f"{where}: not a JSON object like {shape}") from None
    if not rows:
        raise UserError(f"{path}: {what} needs a line about itself and at least one example")
    return about, rows


def _object(line: str, where: str, shape: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        reason = f"{error.msg}, column {error.colno}"
        raise UserError(f"{where}: not JSON ({reason}); it should look like {shape}") from None
    except RecursionError:
        value = None
    if not isinstance(value, dict):
        raise UserError(f"{where}: not a JSON object like {shape}")
    return value


def first_of(error: ValidationError) -> str:
    """The first mistake: where, if it is in one place, and what."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"the key {where!r} is missing"
    if first["type"] == "extra_forbidden":
        return f"the key {where!r} is unknown"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def headed_text(key: str, about: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> str:
    """What such a file holds; `about` has the name under `name`."""
    head = {key: about["name"], **{other: value for other, value in about.items() if other != "name"}}
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in (head, *rows))


def write_text(path: Path, text: str) -> None:
    """Write a text file and the folders above it, whole or not at all. Raises UserError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None
    with atomic_write(path) as file:
        file.write(text.encode())
