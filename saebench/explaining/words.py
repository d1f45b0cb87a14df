"""A language model's explanation of a feature, from its strongest examples."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from saebench.explaining.windows import Window

if TYPE_CHECKING:
    from saebench.explaining.chat import Chat

VERSION = "1"
SYSTEM = (
    "You find out what a feature of a neural network responds to. You are shown texts in which it is active. The "
    "tokens on which it is active stand between « and », and after each text they are listed with their strength from "
    "1 to 10. Look for what these tokens, or the text before them, have in common: the most specific description that "
    "fits nearly all of the examples. Do not mention the marks, do not list the examples.\n"
    "Answer with one line: EXPLANATION: followed by one short sentence or phrase."
)
LONGEST = 500
_ANSWER = re.compile(r"(?i)explanation\**\s*:\**\s*(.+)")


def prompt(windows: Sequence[Window]) -> str:
    """The examples as the model is shown them."""
    largest = max(max(window.activations) for window in windows)
    return "\n\n".join(_shown(number, window, largest) for number, window in enumerate(windows, start=1))


def _shown(number: int, window: Window, largest: float) -> str:
    tokens = zip(window.text, window.activations, window.marked, strict=True)
    strengths = ", ".join(f"{text!r} {max(1, round(10 * a / largest))}" for text, a, marked in tokens if marked)
    return f"Example {number}: {window.highlighted}\nActive: {strengths}"


def explain(chat: Chat, windows: Sequence[Window]) -> str:
    """The model's explanation of what the windows have in common, one line."""
    return parse(chat.ask(SYSTEM, prompt(windows)))


def parse(answer: str) -> str:
    """The explanation in an answer: what follows the last "EXPLANATION:", or its last line."""
    found = _ANSWER.findall(answer)
    text = " ".join((found or answer.strip().splitlines())[-1].split()).strip("* ")
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return (text[1:-1].strip() if quoted else text)[:LONGEST] or answer.strip()[:LONGEST]
