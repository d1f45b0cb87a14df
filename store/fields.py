"""What may stand in a row of the catalogue: texts, names, feature numbers, times."""

from datetime import UTC, datetime

from store.errors import StoreError

LONGEST_NAME = 80
"""Characters of a list's name."""


def checked_text(text: str, what: str) -> str:
    """A text that can be stored, without blanks around it.

    Raises:
        StoreError: it is empty or no valid Unicode; `what` says of what.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise StoreError(f"{what} must be text; {text!r} is not valid Unicode") from None
    if not text.strip():
        raise StoreError(f"{what} cannot be empty")
    return text.strip()


def checked_name(name: str) -> str:
    """The name of a list, if it can stand in an address and on one line.

    Raises:
        StoreError: it is empty, too long, holds '/' or an invisible character, or looks like a file's.
    """
    name = checked_text(name, "a list's name")
    if len(name) > LONGEST_NAME:
        raise StoreError(f"a list's name has at most {LONGEST_NAME} characters, not {len(name)}")
    if not name.isprintable():
        raise StoreError(f"{name!r} cannot name a list: it is one line of visible characters")
    if "/" in name or name.startswith(".") or name.endswith((".json", ".csv")):
        raise StoreError(f"{name!r} cannot name a list: no '/', no '.' in front, no .json or .csv at the end")
    return name


def checked_feature(feature: int) -> int:
    """A number that a feature can have.

    Raises:
        StoreError: it is negative or needs more than 32 bits.
    """
    if not 0 <= feature < 1 << 31:
        raise StoreError(f"{feature} cannot be a feature's number; they count from 0")
    return int(feature)


def now() -> datetime:
    """The time as it is stored."""
    return stored_time(datetime.now(UTC))


def stored_time(time: datetime) -> datetime:
    """UTC without a zone. A time without one is taken to be UTC."""
    return (time if time.tzinfo is None else time.astimezone(UTC)).replace(tzinfo=None)


def read_time(time: datetime) -> datetime:
    """A stored time, with its zone."""
    return time.replace(tzinfo=UTC)
