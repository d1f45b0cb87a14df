"""A task against a tokenizer: what a discovery may rely on, or one line that says which example breaks it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from saebench.circuits.tasks.pairs import Pair, Task
from saebench.corpus.tokenization import SourceTokenizer
from saebench.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Encoded:
    """The examples of a task as token ids, one entry for each example.

    Attributes:
        clean: prompts, each opened by the begin token where the tokenizer has one, as the contexts of a corpus are.
        patch: the same of the patched prompts, each as long as its clean one; None where the task has none.
        answers: what is right after `clean`.
        wrongs: what is right after `patch`; None where the task has none.
    """

    clean: list[list[int]]
    patch: list[list[int]] | None
    answers: list[int]
    wrongs: list[int] | None

    def __len__(self) -> int:
        return len(self.clean)


@dataclass(frozen=True)
class EncodedPair:
    """One example of `Encoded`."""

    clean: list[int]
    patch: list[int] | None
    answer: int
    wrong: int | None


def check_task(task: Task, tokenizer: "PreTrainedTokenizerBase", context_length: int) -> Encoded:
    """Tokenize a task.

    Raises:
        UserError: a prompt without tokens or longer than `context_length`, a pair of unequal length, an answer that is
            not one token behind both prompts, equal answers, only some examples with a patch or a wrong answer, or a
            templated task of several lengths. The message names the example, counted from 1.
    """
    source = SourceTokenizer(tokenizer)
    rows: list[EncodedPair] = []
    for number, pair in enumerate(task.pairs, 1):
        where = f"task {task.name!r}, example {number}"
        try:
            rows.append(encode_pair(source, pair))
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        first, row = rows[0], rows[-1]
        if len(row.clean) > context_length:
            raise UserError(f"{where}: the prompt is {len(row.clean)} tokens, the model reads {context_length}")
        for what in ("patch", "wrong"):
            if (getattr(row, what) is None) != (getattr(first, what) is None):
                raise UserError(f"{where}: either all examples have {what!r} or none; example 1 differs")
        if task.templated and len(row.clean) != len(first.clean):
            raise UserError(
                f"{where}: {len(row.clean)} tokens, example 1 has {len(first.clean)}; "
                'examples of a templated task are equally long (or set "templated": false)'
            )
    patch = [row.patch for row in rows if row.patch is not None]
    wrongs = [row.wrong for row in rows if row.wrong is not None]
    return Encoded([row.clean for row in rows], patch or None, [row.answer for row in rows], wrongs or None)


def encode_pair(source: SourceTokenizer, pair: Pair) -> EncodedPair:
    """Tokenize one example.

    Raises:
        UserError: as `check_task`, of what one example can show.
    """
    prompts = [prompt for prompt in (pair.clean, pair.patch) if prompt is not None]
    words = [word for word in (pair.answer, pair.wrong) if word is not None]
    texts = [*prompts, *(prompt + word for word in words for prompt in prompts)]
    found = [ids.tolist() for ids, _ in source.encode(texts)]
    encoded, wholes = found[: len(prompts)], found[len(prompts) :]
    for name, ids in zip(("clean", "patch"), encoded, strict=False):
        if not ids:
            raise UserError(f"the {name} prompt is empty")
    if len({len(ids) for ids in encoded}) > 1:
        lengths = " and ".join(str(len(ids)) for ids in encoded)
        raise UserError(f"clean and patch must be equally long, they are {lengths} tokens")
    answer = _one_token(f"answer {pair.answer!r}", encoded, wholes[: len(prompts)])
    wrong = None if pair.wrong is None else _one_token(f"wrong {pair.wrong!r}", encoded, wholes[len(prompts) :])
    if answer == wrong:
        raise UserError(f"answer and wrong are both {pair.answer!r}")
    bos = source.tokenizer.bos_token_id
    clean, *patch = [ids if bos is None else [bos, *ids] for ids in encoded]
    return EncodedPair(clean, patch[0] if patch else None, answer, wrong)


def _one_token(what: str, prompts: Sequence[list[int]], wholes: Sequence[list[int]]) -> int:
    """The id that a word is behind every prompt. Tokenizing the whole shows whether the model ever sees it so."""
    found = set()
    for prompt, whole in zip(prompts, wholes, strict=True):
        if whole[: len(prompt)] != prompt:
            raise UserError(f"{what} is joined to the end of the prompt; begin it where a token begins")
        if len(whole) != len(prompt) + 1:
            raise UserError(f"{what} is {len(whole) - len(prompt)} tokens, it must be one")
        found.add(whole[-1])
    if len(found) > 1:
        raise UserError(f"{what} is one token after clean and another after patch")
    return found.pop()
