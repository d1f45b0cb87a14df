"""Two disjoint sets of facts that differ in nothing but whom they are about, and text that is about nobody.

A fact is a context of five tokens: begin, a first name, a second name, `is`, a value. Both sets have the same format
and draw their values from the same words, so neither the format nor an answer gives away the set that a fact is of;
only the names do, and every name belongs to one set. A name is part of several facts, so none of them follows from one
name alone. The third kind of text is words of its own, each followed by one of a few: what a model loses there is lost
to the language, not to either set.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from pydantic import Field, model_validator
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from saebench.config import Section
from saebench.corpus import Contexts

BEGIN = "<bos>"
IS = "is"
LENGTH = 5
"""Tokens of a fact, the begin token and the value among them."""


class FactsConfig(Section):
    """How many facts, about how many names."""

    facts: int = Field(100, ge=4, description="facts in each of the two sets; even, so that it has halves")
    names: int = Field(10, ge=2, description="first names, and as many second names, of each set")
    values: int = Field(25, ge=2, description="different values, shared by both sets; chance is one in so many")
    words: int = Field(20, ge=2, description="words of the text that is about nobody")
    followers: int = Field(4, ge=1, description="words that may follow each of those, all equally likely")
    neutral: int = Field(200, ge=2, description="contexts of that text")
    seed: int = Field(0, ge=0, description="of names, values and words")

    @model_validator(mode="after")
    def _fits(self) -> "FactsConfig":
        if self.facts % 2 or self.facts > self.names**2:
            raise ValueError(f"facts must be even and at most names² = {self.names**2}")
        if self.followers > self.words:
            raise ValueError("followers cannot be more than words")
        return self


@dataclass(frozen=True)
class Facts:
    """The sets and the text as token ids, every row a context.

    Attributes:
        words: of each token id.
        forget: the facts that are to be unlearned.
        keep: those that are not.
        neutral: text about nobody.
    """

    words: tuple[str, ...]
    forget: Int[np.ndarray, "facts 5"]
    keep: Int[np.ndarray, "facts 5"]
    neutral: Int[np.ndarray, "contexts 5"]

    @property
    def all(self) -> Int[np.ndarray, "contexts 5"]:
        """Everything that the model reads."""
        return np.concatenate([self.forget, self.keep, self.neutral])

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """One token a word; the begin token is the only special one."""
        vocabulary = {word: i for i, word in enumerate(self.words)}
        tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=BEGIN))
        tokenizer.pre_tokenizer = WhitespaceSplit()
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=BEGIN, unk_token=BEGIN)

    def contexts(self, rows: Int[np.ndarray, "contexts 5"], size: int = 256) -> Iterator[Contexts]:
        """Rows as blocks of contexts, each row a document of its own."""
        for start in range(0, len(rows), size):
            block = rows[start : start + size].astype(np.int32)
            texts = [[f"{self.words[token]} ".encode() for token in row[1:]] for row in block]
            bounds = [np.cumsum([0, 0, *map(len, pieces)]) for pieces in texts]
            yield Contexts(
                block,
                np.arange(LENGTH)[None] == np.zeros((len(block), 1)),
                [b"".join(pieces) for pieces in texts],
                np.array(bounds, np.int32),
                [[(1, start + i, 0)] for i in range(len(block))],
            )


def make_facts(config: FactsConfig) -> Facts:
    """Draw two sets of facts and neutral text."""
    rng = np.random.default_rng(config.seed)
    names = {f"{who}-{part}": [f"{who}-{part}-{i}" for i in range(config.names)] for who in "fk" for part in "ab"}
    values = [f"value-{i}" for i in range(config.values)]
    words = [f"word-{i}" for i in range(config.words)]
    every = [BEGIN, IS, *(name for column in names.values() for name in column), *values, *words]
    number = {word: i for i, word in enumerate(every)}

    def a_set(who: str) -> Int[np.ndarray, "facts 5"]:
        pairs = rng.permutation(config.names**2)[: config.facts]
        first = np.array([number[name] for name in names[f"{who}-a"]])[pairs // config.names]
        second = np.array([number[name] for name in names[f"{who}-b"]])[pairs % config.names]
        drawn = number[values[0]] + rng.permutation(np.arange(config.facts) % config.values)
        begin, middle = np.zeros(config.facts, np.int64), np.full(config.facts, number[IS])
        return np.stack([begin, first, second, middle, drawn], 1)

    forget, keep = a_set("f"), a_set("k")
    after = np.stack([rng.permutation(config.words)[: config.followers] for _ in range(config.words)])
    row = rng.integers(config.words, size=config.neutral)
    text = [row]
    while len(text) < LENGTH - 1:
        text.append(after[text[-1], rng.integers(config.followers, size=config.neutral)])
    neutral = np.stack([np.zeros_like(row), *(number[words[0]] + column for column in text)], 1)
    return Facts(tuple(every), forget, keep, neutral)
