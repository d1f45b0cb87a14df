"""What routes that use a language model share: their texts, and what they answer when it cannot be used."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import Request

from saebench.errors import UserError
from web.errors import RESPONSES, ProblemError
from web.live import BusyError, CannotOpenError, Live

MODEL_RESPONSES: dict[int | str, dict] = {413: RESPONSES[422], 503: RESPONSES[422]}
"""What such a route may answer besides."""

MOST_IN_A_LINK = 4_000
"""Characters of a text that is part of an address: at most 48 kB once it is percent-encoded."""


def live_of(request: Request) -> Live:
    """The app's models. Raises ProblemError 503 where it runs without."""
    live: Live | None = request.app.state.live
    if live is None:
        raise ProblemError(503, "No language model", "This dashboard runs without a language model.")
    return live


def checked_text(text: str, most: int) -> str:
    """The text, with newlines as they are in files. Raises ProblemError for one that is empty, too long, or no text."""
    text = text.replace("\r\n", "\n")
    if len(text) > most:
        cause = f"The text has {len(text):,} characters; this takes {most:,}."
        raise ProblemError(413, "Too long", cause, "Try a shorter passage.")
    if not text:
        raise ProblemError(422, "Nothing to read", "The text is empty.", "Type something.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ProblemError(422, "Not text", "The text holds half a surrogate pair, which is no character.")
    return text


@contextmanager
def answering() -> Iterator[None]:
    """Turn what a model may raise into problems: 503 where it is not there or busy, 422 where it was asked too much."""
    try:
        yield
    except BusyError:
        cause = "Other requests are using the language model, and more are waiting."
        raise ProblemError(503, "The model is busy", cause, "Try again in a moment.") from None
    except CannotOpenError as error:
        raise ProblemError(503, "The model cannot be used", f"{error}.") from None
    except UserError as error:
        raise ProblemError(422, "That cannot be computed", f"{error}.") from None
