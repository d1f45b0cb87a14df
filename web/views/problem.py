"""What is wrong with what was typed, at the word that is wrong."""

import re
from dataclasses import dataclass

from store.names import NAMES, full_names


@dataclass(frozen=True)
class TypedProblem:
    """What was typed and cannot be read, cut around the word that is wrong."""

    before: str
    word: str
    after: str
    message: str


def explain(typed: str, message: str) -> TypedProblem:
    """Find the word that a store error quotes in what was typed; a column may have been typed by its short name."""
    for whole in (full_names(typed), typed):
        message = message.replace(repr(whole), "'…'")
    message = re.sub(r"^(filter|order) '…': (?=\S)", "", message)
    message = message[:1].upper() + message[1:]
    short = {name.column: name.short for name in NAMES if name.short}
    for quoted in re.findall(r"'([^']+)'|\"([^\"]+)\"", message):
        word = "".join(quoted)
        for candidate in (word, short.get(word)):
            at = typed.lower().find(candidate.lower()) if candidate else -1
            if candidate and at >= 0 and candidate != typed:
                return TypedProblem(typed[:at], typed[at : at + len(candidate)], typed[at + len(candidate) :], message)
    return TypedProblem("", typed, "", message)
