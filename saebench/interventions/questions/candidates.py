"""Words of a document that a question can ask for: whole identifiers behind the lines before them.

Decisions: a word begins and ends where a token does, so that asking for it needs nothing else to be said. Keywords,
`self`, `cls` and words that are as frequent elsewhere say nothing of a topic. A word that stands in the prompt already
can be copied from there, so what a model knows is asked by words that do not, unless `copied`.
"""

import keyword
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from saebench.corpus import Document
from saebench.corpus.tokenization import SourceTokenizer
from saebench.errors import UserError
from saebench.interventions.questions.templates import encoded

WORD = re.compile(rb"(?<![A-Za-z0-9_\x80-\xff])[A-Za-z][A-Za-z0-9_]*(?![A-Za-z0-9_\x80-\xff])")
SAYS_NOTHING = frozenset({*keyword.kwlist, *keyword.softkwlist, "self", "cls"})


@dataclass(frozen=True)
class Candidate:
    """A word and what stands before it.

    Attributes:
        document: its name.
        at: the byte at which the word begins.
        token: the token of the document at which the answer begins.
        prompt: the lines before it, and its own up to it.
        answer: the word, with the space before it where that is part of its first token.
        length: tokens of the answer.
    """

    document: str
    at: int
    token: int
    prompt: str
    answer: str
    length: int

    @property
    def word(self) -> str:
        """The word itself."""
        return self.answer.strip()


def distinctive(own: Iterable[Document], others: Iterable[Document], times: float, least_letters: int) -> set[str]:
    """Words that say something of a topic: at least `times` as frequent in its documents as in the others.

    Args:
        own: documents of the topic.
        others: of which the corpus has more; each word is counted once more there, so that none has a rate of 0.
        times: ratio of the rates (occurrences per occurrence of any word).
        least_letters: characters of a word, at least.
    """
    here, there = (Counter(chain.from_iterable(map(_words, documents))) for documents in (own, others))
    factor = times * here.total() / max(1, there.total())
    return {
        word
        for word, count in here.items()
        if len(word) >= least_letters and word not in SAYS_NOTHING and count >= factor * (there[word] + 1)
    }


def _words(document: Document) -> list[str]:
    return [word.decode() for word in WORD.findall(document.text.encode())]


def candidates(
    source: SourceTokenizer, document: Document, words: Container[str], prompt_tokens: int, copied: bool
) -> Iterator[Candidate]:
    """Every word of a document that can be asked for, in order.

    Args:
        source: the model's tokenizer.
        document: the text.
        words: which are asked for.
        prompt_tokens: tokens before the word, at most; the prompt begins with a line, or if none does, with a word.
        copied: whether words that stand in their prompt are asked for too.
    """
    text = document.text.encode()
    ((_, lengths),) = source.encode([document.text])
    starts = np.concatenate([[0], np.cumsum(lengths)])  # byte at which each token begins
    token_at = {byte: token for token, byte in enumerate(starts.tolist())}
    for match in WORD.finditer(text):
        begin, end = match.span()
        word = match.group().decode()
        if word not in words or end not in token_at:
            continue
        if begin not in token_at and text[begin - 1 : begin] == b" ":
            begin -= 1
        if begin not in token_at:
            continue
        first = int(starts[max(0, token_at[begin] - prompt_tokens)])
        prompt = _from_a_line(text[first:begin], whole=first == 0)
        if not prompt.strip() or (not copied and word in re.findall(r"\w+", prompt)):
            continue
        token = token_at[begin]
        yield Candidate(document.name, match.start(), token, prompt, text[begin:end].decode(), token_at[end] - token)


def askable(source: SourceTokenizer, prompt: str, says: list[str]) -> bool:
    """Whether all of these texts are tokens of their own behind the prompt, when it stands alone."""
    try:
        encoded(source, prompt, says)
    except UserError:
        return False
    return True


def _from_a_line(text: bytes, whole: bool) -> str:
    """From the first line on that begins in the text, else from the first word; all of it if it is `whole`."""
    if not whole:
        _, found, rest = text.partition(b"\n" if b"\n" in text else b" ")
        text = rest if found else b""
    return text.decode(errors="ignore")
