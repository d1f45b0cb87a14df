"""Ask a model questions, whatever interventions it stands under.

Decisions: prompts of one length share passes, so that none is ever padded and an intervention that looks at a whole
text sees that text alone. A tie is a wrong answer.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saebench.corpus.tokenization import vocabulary
from saebench.errors import UserError
from saebench.interventions.generation import finite
from saebench.interventions.questions.format import MultipleChoice, QuestionSet
from saebench.interventions.questions.templates import Asked, Orders, put, right_first
from saebench.lm import LanguageModel

BATCH_TOKENS = 2048
LOGITS_AT_ONCE = 2**26
"""Logits that are in memory together, at most: 256 MB."""


@dataclass(frozen=True)
class Answers:
    """What a model makes of each question.

    Attributes:
        right: it is answered right in every order that was asked. A cloze question is if its answer is what the model
            would say greedily, multiple choice if its right choice (or that one's letter) is likelier than any other.
        share: share of the orders in which it is.
        margin: by how much, nats, in the worst order: log p(right) − log p(the likeliest wrong answer given); of a
            cloze question without wrong answers, of its worst token against any other token.
        logprob: log p(right answer | prompt), nats, mean over the orders.
    """

    right: Bool[Tensor, " questions"]
    share: Float[Tensor, " questions"]
    margin: Float[Tensor, " questions"]
    logprob: Float[Tensor, " questions"]

    def __len__(self) -> int:
        return len(self.right)


@dataclass(frozen=True)
class _Ending:
    """A text behind a prompt: the model reads `reads`, and the logits behind its last tokens are those of `tokens`."""

    reads: tuple[int, ...]
    tokens: tuple[int, ...]


def ask(
    lm: LanguageModel,
    questions: QuestionSet,
    orders: Orders = "every",
    progress: Callable[[int], None] | None = None,
) -> Answers:
    """Ask a model every question of a set.

    Args:
        lm: the model, under interventions or not.
        questions: the set.
        orders: `every` shows lettered choices in every permutation, `given` as they are (SAEBench's way of scoring).
        progress: called with the number of questions done so far.

    Raises:
        UserError: a set without questions, one that does not fit the model (see `put`), logits that are not finite.
    """
    if not len(questions):
        raise UserError(f"questions {questions.name!r}: there are none to ask")
    return answer(lm, list(put(lm, questions, orders)), progress)


def answer(
    lm: LanguageModel, asked: Sequence[tuple[int, Asked]], progress: Callable[[int], None] | None = None
) -> Answers:
    """The same of questions that are put already, to ask them again and again.

    Args:
        lm: the model, under interventions or not.
        asked: what `put` gives, all of it: questions are numbered from 0 without a gap.
        progress: called with the number of questions done so far.

    Raises:
        UserError: logits that are not finite.
    """
    numbers, ways = zip(*asked, strict=True)
    n = numbers[-1] + 1
    endings = {_Ending((*way.prompt, *says[:-1]), tuple(says)): 0 for way in ways for says in way.says}
    order = {ending: row for row, ending in enumerate(endings)}
    logprob, greedy = read_endings(
        lm, list(order), None if progress is None else lambda done: progress(done * n // len(order))
    )
    found = [_of_way(way, order, logprob, greedy) for way in ways]
    return _over_orders(torch.tensor(numbers), torch.tensor(found, dtype=torch.float64), n)


def known(lm: LanguageModel, questions: QuestionSet, progress: Callable[[int], None] | None = None) -> QuestionSet:
    """The questions that a model answers right, under every permutation of their choices.

    Raises:
        UserError: there are none, or as `ask`.
    """
    found = ask(lm, questions, progress=progress)
    if not found.right.any():
        raise UserError(f"the model {lm.name} gets none of the {len(questions)} questions of {questions.name!r} right")
    return questions.of(found.right.tolist())


@torch.no_grad()
def said(lm: LanguageModel, questions: QuestionSet) -> list[str]:
    """What a model says to each question, under interventions or not.

    Of multiple choice, the likeliest choice's text, lettered ones in the given order. Of a cloze question, what it says
    greedily: as many tokens as the right answer has, but none behind the first that differs from it.

    Raises:
        UserError: as `ask`, of a set that has questions.
    """
    texts = vocabulary(lm.tokenizer)
    found = []
    for question, (_, way) in zip(questions.questions, put(lm, questions, "given"), strict=True):
        if isinstance(question, MultipleChoice):
            logprob, _ = read_endings(lm, [_Ending((*way.prompt, *says[:-1]), tuple(says)) for says in way.says])
            found.append(right_first(question.choices, question.answer)[int(logprob.argmax())])
            continue
        right = way.says[0]
        logits = finite(_logits(lm, torch.tensor([[*way.prompt, *right[:-1]]]), len(right))[0])
        greedy = logits.argmax(-1).tolist()
        wrong = next((at for at, token in enumerate(greedy) if token != right[at]), len(right))
        found.append(b"".join(texts[token] for token in greedy[: wrong + 1]).decode(errors="replace"))
    return found


@torch.no_grad()
def read_endings(
    lm: LanguageModel, endings: Sequence[_Ending], progress: Callable[[int], None] | None = None
) -> tuple[Float[Tensor, " endings"], Float[Tensor, " endings"]]:
    """Of each ending, in float64: its log-probability (nats), and by how much its worst token is likelier than any
    other token (below 0 where it is not, so above 0 says that it is what the model says greedily)."""
    logprob = torch.zeros(len(endings), dtype=torch.float64)
    greedy = torch.full((len(endings),), torch.inf, dtype=torch.float64)
    done = 0
    for rows in batches(lm, [ending.reads for ending in endings]):
        inputs = list(dict.fromkeys(endings[row].reads for row in rows))
        at = {reads: i for i, reads in enumerate(inputs)}
        deep = max(len(endings[row].tokens) for row in rows)
        logits = finite(_logits(lm, torch.tensor(inputs), deep))  # [inputs deep vocab]
        where = [
            (at[endings[row].reads], deep - len(endings[row].tokens) + i, token, row)
            for row in rows
            for i, token in enumerate(endings[row].tokens)
        ]
        own, position, token, row = torch.tensor(where).T
        found = logits.log_softmax(-1)
        first, second = found.topk(2).values[own, position].double().T
        said = found[own, position, token].double()
        other = torch.where(found.argmax(-1)[own, position] == token, second, first)
        logprob.index_add_(0, row, said)
        greedy.scatter_reduce_(0, row, said - other, "amin")
        done += len(rows)
        if progress is not None:
            progress(done)
    return logprob, greedy


def batches(lm: LanguageModel, inputs: Sequence[tuple[int, ...]]) -> Iterator[list[int]]:
    """Numbers of inputs that are equally long, as many as go into one pass; equal ones come together and count once."""
    most = min(BATCH_TOKENS, LOGITS_AT_ONCE // lm.d_vocab)
    alike: dict[int, dict[tuple[int, ...], list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, tokens in enumerate(inputs):
        alike[len(tokens)][tokens].append(row)
    for length, by_input in sorted(alike.items()):
        groups, size = list(by_input.values()), max(1, most // length)
        for start in range(0, len(groups), size):
            yield [row for group in groups[start : start + size] for row in group]


def _logits(lm: LanguageModel, tokens: Int[Tensor, "b n"], deep: int) -> Float[Tensor, "b deep vocab"]:
    """Logits behind the last `deep` tokens, on the CPU."""
    found = lm.last_logits(tokens)[:, None] if deep == 1 else lm.run(tokens)[0][:, -deep:]
    return found.cpu()


def _of_way(
    way: Asked, order: dict[_Ending, int], logprob: Float[Tensor, " endings"], greedy: Float[Tensor, " endings"]
) -> tuple[bool, float, float]:
    """(right, margin, log p(right)) of one way to put a question."""
    right, *wrong = (order[_Ending((*way.prompt, *says[:-1]), tuple(says))] for says in way.says)
    margin = float(logprob[right] - logprob[wrong].max()) if wrong else float(greedy[right])
    return (float(greedy[right]) if way.greedy else margin) > 0, margin, float(logprob[right])


def _over_orders(number: Int[Tensor, " ways"], asked: Float[Tensor, "ways 3"], n: int) -> Answers:
    right, margin, logprob = asked.T
    zeros = torch.zeros(n, dtype=torch.float64)
    ways = zeros.index_add(0, number, torch.ones_like(right))
    share = zeros.index_add(0, number, right) / ways
    worst = torch.full_like(zeros, torch.inf).scatter_reduce(0, number, margin, "amin")
    return Answers(share == 1, share, worst, zeros.index_add(0, number, logprob) / ways)
