"""Questions made from a corpus: completions that a model already gets right, by topic.

Decisions: a word is asked for only if the model completes it when it reads the document, which one pass says of many
words; a question is kept if it is also answered right by itself, behind its own short prompt. Words come in an order
that depends on the seed and the names of their documents alone, one of each document in turn, until a topic has enough.
Wrong choices are other words of the topic, as long in tokens and with the same space before them, none of which
begins like the right one.
"""

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from typing import Literal

from pydantic import Field

from saebench.config import CorpusConfig, Section
from saebench.corpus import Document
from saebench.corpus.tokenization import SourceTokenizer
from saebench.errors import UserError
from saebench.interventions.questions.asking import ask
from saebench.interventions.questions.candidates import Candidate, askable, candidates, distinctive
from saebench.interventions.questions.completed import completed
from saebench.interventions.questions.format import Cloze, MultipleChoice, Question, QuestionSet
from saebench.interventions.questions.topics import Topics, documents_by_topic
from saebench.lm import LanguageModel

ASKED_TOGETHER = 64
Shape = tuple[bool, int]
"""Whether a word follows a space, and its tokens."""
Pools = Mapping[Shape, Sequence[str]]


class BuildConfig(Section):
    """How questions are made."""

    form: Literal["cloze", "choices"] = Field("cloze", description="complete a word, or choose it among others")
    per_topic: int = Field(200, ge=1, description="questions of a topic, at most")
    per_document: int = Field(20, ge=1, description="questions of a document, at most")
    per_answer: int = Field(3, ge=1, description="questions of a topic with the same answer, at most")
    prompt_tokens: int = Field(64, ge=1, description="tokens before the word, at most")
    least_letters: int = Field(4, ge=1, description="characters of a word, at least")
    distinctive: float = Field(
        3.0, ge=0, description="a word must be so many times as frequent in its topic as elsewhere; 0: any word"
    )
    copied: bool = Field(False, description="also ask for words that the prompt already has")
    n_wrong: int = Field(3, ge=1, le=9, description="wrong choices of multiple choice")
    document_tokens: int = Field(8192, ge=1, description="tokens that the model reads of a document, at most")
    seed: int = Field(0, description="decides which words are asked for")


def build_questions(
    lm: LanguageModel,
    corpus: CorpusConfig,
    topics: Topics,
    config: BuildConfig,
    name: str,
    progress: Callable[[int, str], None] | None = None,
) -> QuestionSet:
    """Questions on the topics of a corpus that a model answers right; equal arguments give equal questions.

    Args:
        lm: the model.
        corpus: the text.
        topics: patterns of document names, by topic.
        config: how.
        name: of the set.
        progress: called with how many of all that may be found (`per_topic` for each topic) are found or known to be
            missing, and the topic.

    Raises:
        UserError: no topic, one without documents or of which the model knows nothing, prompts over the context length.
    """
    if not topics:
        raise UserError("no topic is named; give one, for example tkinter=tkinter/*")
    if config.prompt_tokens >= lm.context_length:
        raise UserError(
            f"prompts of {config.prompt_tokens} tokens and a word do not fit the model's context of "
            f"{lm.context_length}; ask for shorter prompts"
        )
    by_topic = documents_by_topic(corpus, topics)
    found: list[Question] = []
    for number, topic in enumerate(topics):
        before = len(found)
        others = (document for name, own in by_topic.items() if name != topic for document in own)
        words = distinctive(by_topic[topic], others, config.distinctive, config.least_letters)
        for question in _of_topic(lm, topic, by_topic[topic], words, config):
            found.append(question)
            if progress is not None:
                progress(number * config.per_topic + len(found) - before, topic)
        if progress is not None:
            progress((number + 1) * config.per_topic, topic)
        if len(found) == before:
            raise UserError(
                f"topic {topic!r}: the model {lm.name} completes none of its words; allow shorter ones, words "
                "as frequent elsewhere (distinctive), or words that the prompt already has (copied)"
            )
    description = f"{config.form} of {corpus.name} that {lm.name} answers right, seed {config.seed}"
    return QuestionSet(
        name=name, description=description, topics={t: tuple(p) for t, p in topics.items()}, questions=tuple(found)
    )


def _of_topic(
    lm: LanguageModel, topic: str, documents: Sequence[Document], words: Container[str], config: BuildConfig
) -> Iterator[Question]:
    source = SourceTokenizer(lm.tokenizer)
    completions, pools = _in_turn(lm, documents, words, config)
    proposed = _questions(source, topic, completions, pools, config)
    n, by_document, by_answer = 0, Counter[str](), Counter[str]()
    while some := tuple(islice(proposed, ASKED_TOGETHER)):
        right = ask(lm, QuestionSet(name="proposed", questions=some)).right.tolist()
        for question, is_right in zip(some, right, strict=True):
            answer = question.answer if isinstance(question, Cloze) else question.choices[question.answer]
            full = by_document[question.document] >= config.per_document or by_answer[answer] >= config.per_answer
            if not is_right or full:
                continue
            by_document[question.document] += 1
            by_answer[answer] += 1
            yield question
            n += 1
            if n == config.per_topic:
                return


def _in_turn(
    lm: LanguageModel, documents: Sequence[Document], words: Container[str], config: BuildConfig
) -> tuple[list[Candidate], Pools]:
    """Words that the model completes in their documents: one of each document, then another of each …; and all words of
    the documents, for wrong choices."""
    source = SourceTokenizer(lm.tokenizer)
    pools: dict[Shape, set[str]] = defaultdict(set)
    drawn = []
    for document in sorted(documents, key=lambda d: hashlib.sha256(f"{config.seed} {d.name}".encode()).digest()):
        draw = random.Random(f"{config.seed} {document.name}")
        ((ids, _),) = source.encode([document.text])
        said = completed(lm, ids.tolist(), config.prompt_tokens, config.document_tokens, draw)
        every = list(candidates(source, document, words, config.prompt_tokens, config.copied))
        for one in every:
            pools[_shape(one)].add(one.answer)
        own = [one for one in every if said[one.token : one.token + one.length].all()]
        drawn.append(draw.sample(own, len(own)))
    in_turn = [one for row in zip_longest(*drawn) for one in row if one is not None]
    return in_turn, {shape: sorted(answers) for shape, answers in pools.items()}


def _questions(
    source: SourceTokenizer, topic: str, words: Sequence[Candidate], pools: Pools, config: BuildConfig
) -> Iterator[Question]:
    seen: set[tuple[str, str]] = set()
    for one in words:
        if (one.prompt, one.answer) in seen:
            continue
        seen.add((one.prompt, one.answer))
        about = {"id": f"{topic}/{one.document}@{one.at}", "topic": topic, "document": one.document}
        if config.form == "cloze":
            if askable(source, one.prompt, [one.answer]):
                yield Cloze(prompt=one.prompt, answer=one.answer, **about)
            continue
        draw = random.Random(f"{config.seed} {about['id']}")
        wrong = _wrong(one, pools[_shape(one)], config.n_wrong, draw)
        if len(wrong) == config.n_wrong and askable(source, one.prompt, [one.answer, *wrong]):
            choices = draw.sample([one.answer, *wrong], len(wrong) + 1)
            yield MultipleChoice(
                question=one.prompt, choices=tuple(choices), answer=choices.index(one.answer), style="continuations",
                **about,
            )  # fmt: skip


def _shape(one: Candidate) -> Shape:
    return one.answer.startswith(" "), one.length


def _wrong(one: Candidate, pool: Sequence[str], n: int, draw: random.Random) -> list[str]:
    """Words that are not right: none begins like the right one, or the other way round."""
    right = one.word.lower()
    chosen: list[str] = []
    for answer in draw.sample(pool, len(pool)):
        word = answer.strip().lower()
        if not word.startswith(right) and not right.startswith(word):
            chosen.append(answer)
        if len(chosen) == n:
            break
    return chosen
