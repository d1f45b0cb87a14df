"""What makes a task: a template, and words for it that are one token each."""

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from saebench.circuits.tasks.check import encode_pair
from saebench.circuits.tasks.pairs import Pair, Task
from saebench.corpus.tokenization import SourceTokenizer
from saebench.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PATIENCE = 500
"""Draws in a row that bring no new example, after which a generator gives up."""
SPARE = 3
"""Words that must be left over when an example has been drawn: with fewer there is next to nothing to vary."""
ANCHOR = "."
"""Words are tokenized behind this: some tokenizers treat the beginning of a text as a space."""


class Draw:
    """A seeded source of words. Equal seeds and tokenizers give equal words; within one example no word comes twice.

    Attributes:
        random: decides what else a template leaves to chance.
    """

    def __init__(self, source: SourceTokenizer, task: str, seed: int) -> None:
        self.random = random.Random(f"{task} {seed}")  # one seed means other words in every task
        self._source = source
        self._task = task
        self._fitting: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
        self._used: set[str] = set()

    def begin(self) -> None:
        """Start another example."""
        self._used.clear()

    def words(self, pool: tuple[str, ...], count: int, behind: tuple[str, ...] = ("", " ")) -> list[str]:
        """Different words of a pool, each of them one token together with every text of `behind` in front of it.

        Raises:
            UserError: the tokenizer has too few.
        """
        if (pool, behind) not in self._fitting:
            self._fitting[pool, behind] = self._fits(pool, behind)
        fitting = self._fitting[pool, behind]
        free = [word for word in fitting if word.lower() not in self._used]
        if len(free) < count + SPARE:
            raise UserError(
                f"task {self._task!r} draws {count} of {len(pool)} words like {pool[0]!r}, each one token; "
                f"this tokenizer has too few of them: {len(fitting)}"
            )
        drawn = self.random.sample(free, count)
        self._used.update(map(str.lower, drawn))
        return drawn

    def word(self, pool: tuple[str, ...], behind: tuple[str, ...] = ("", " ")) -> str:
        """One word, as `words`."""
        return self.words(pool, 1, behind)[0]

    def _fits(self, pool: tuple[str, ...], behind: tuple[str, ...]) -> list[str]:
        texts = [ANCHOR + text + word for word in pool for text in behind]
        (anchor, _), *found = self._source.encode([ANCHOR, *texts])
        one = [len(ids) == len(anchor) + 1 for ids, _ in found]
        return [word for row, word in enumerate(pool) if all(one[row * len(behind) : (row + 1) * len(behind)])]


@dataclass(frozen=True)
class Generator:
    """A task that can be made in any number.

    Attributes:
        name: of the task.
        description: one line.
        models: which can do it: `demo`, the bundled model of Python source, or `hub`, larger ones of any text.
        templated: whether position i means the same in all examples.
        propose: draws one example. Those that do not fit the tokenizer are drawn again.
    """

    name: str
    description: str
    models: Literal["demo", "hub"]
    templated: bool
    propose: Callable[[Draw], Pair]

    def __call__(self, tokenizer: "PreTrainedTokenizerBase", n: int, seed: int = 0) -> Task:
        """`n` different examples; equal seeds and tokenizers give equal tasks.

        Raises:
            UserError: the tokenizer has too few words that are one token, or there are fewer different examples.
        """
        if n < 1:
            raise UserError(f"task {self.name!r}: {n} examples asked for; ask for at least 1")
        source = SourceTokenizer(tokenizer)
        draw = Draw(source, self.name, seed)
        seen: set[Pair] = set()
        found: dict[int, list[Pair]] = defaultdict(list)  # by length, of which a templated task has only one
        refused, stale = "", 0
        while stale < PATIENCE:
            draw.begin()
            pair = self.propose(draw)
            stale += 1
            if pair in seen:
                continue
            seen.add(pair)
            try:
                length = len(encode_pair(source, pair).clean)
            except UserError as error:
                refused = f"; one that does not fit: {error}"
                continue
            alike = found[length if self.templated else 0]
            alike.append(pair)
            stale = 0
            if len(alike) == n:
                return Task(name=self.name, description=self.description, templated=self.templated, pairs=tuple(alike))
        most = max(map(len, found.values()), default=0)
        raise UserError(f"task {self.name!r}: this tokenizer allows {most} of {n} different examples{refused}")


def either(draw: Draw, template: Callable[[str], str], first: tuple[str, str], second: tuple[str, str]) -> Pair:
    """A pair that differs in one word, wherever the template puts it; which of two is clean is left to chance.

    Args:
        draw: decides.
        template: from the word that differs to the prompt.
        first: that word, and what is right behind the prompt that has it.
        second: the same of the other prompt.
    """
    (clean, answer), (patch, wrong) = draw.random.sample((first, second), 2)
    return Pair(clean=template(clean), patch=template(patch), answer=answer, wrong=wrong)
