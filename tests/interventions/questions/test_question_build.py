"""Questions made from real source files by the demo model, checked one by one against the files and the model."""

import random
import re
import sysconfig
from collections import Counter
from pathlib import Path

import pytest
import torch

from saebench.config import CorpusConfig
from saebench.corpus.tokenization import SourceTokenizer
from saebench.errors import UserError
from saebench.interventions import generate
from saebench.interventions.questions import (
    BuildConfig,
    Cloze,
    MultipleChoice,
    QuestionSet,
    ask,
    build_questions,
    check_apart,
)
from saebench.interventions.questions.completed import completed
from saebench.interventions.questions.topics import contexts_of, documents_by_topic
from saebench.lm import LanguageModel, load_lm

FILES = ("unittest/case.py", "unittest/suite.py", "http/client.py", "http/cookies.py", "json/decoder.py")
TOPICS = {"unittest": ("unittest/*",), "http": ("http/*",)}


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return load_lm(precision="float32")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> CorpusConfig:
    folder = tmp_path_factory.mktemp("corpus")
    for name in FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes((Path(sysconfig.get_path("stdlib")) / name).read_bytes())
    return CorpusConfig(name=str(folder))


CONFIG = BuildConfig(per_topic=12, per_document=8, per_answer=2, document_tokens=1024)


@pytest.fixture(scope="module")
def clozes(lm: LanguageModel, corpus: CorpusConfig) -> QuestionSet:
    return build_questions(lm, corpus, TOPICS, CONFIG, "mine")


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def test_every_cloze_question_is_a_place_in_its_document_that_the_model_completes(
    lm: LanguageModel, corpus: CorpusConfig, clozes: QuestionSet
):
    assert clozes.topics == TOPICS
    for question in clozes.questions:
        assert isinstance(question, Cloze)
        source = (Path(corpus.name) / question.document).read_text()
        at = int(question.id.rpartition("@")[2])
        word = question.answer.strip()
        assert source.encode()[at:].decode().startswith(word)
        assert source.encode()[:at].decode().endswith((question.prompt + question.answer).removesuffix(word))
        assert not source.encode()[at + len(word) :].decode()[0].isalnum()
        assert len(word) >= 4
        assert word not in words(question.prompt)
        ids = [lm.tokenizer.bos_token_id, *lm.tokenizer(question.prompt, add_special_tokens=False)["input_ids"]]
        assert len(ids) <= 1 + CONFIG.prompt_tokens
        answer = lm.tokenizer(question.prompt + question.answer, add_special_tokens=False)["input_ids"][len(ids) - 1 :]
        assert generate(lm, torch.tensor(ids), len(answer)).tokens.tolist() == answer


def test_words_are_of_their_topic(corpus: CorpusConfig, clozes: QuestionSet):
    counts = {name: Counter(words((Path(corpus.name) / name).read_text())) for name in FILES}
    for question in clozes.questions:
        own = {name for name in FILES if name.startswith(question.topic)}
        here = sum((counts[name] for name in own), Counter())
        there = sum((counts[name] for name in FILES if name not in own), Counter())
        rates = [each[question.answer.strip()] / each.total() for each in (here, there)]
        assert rates[0] > 2.5 * rates[1]  # 3 by the rule, whose words are cut a little differently


def test_limits_and_order(lm: LanguageModel, corpus: CorpusConfig, clozes: QuestionSet):
    topics = Counter(question.topic for question in clozes.questions)
    assert set(topics) == set(TOPICS)
    assert max(topics.values()) <= 12
    assert max(Counter(question.document for question in clozes.questions).values()) <= 8
    assert max(Counter((q.topic, q.answer) for q in clozes.questions).values()) <= 2
    assert len({(q.prompt, q.answer) for q in clozes.questions}) == len(clozes)
    check_apart(*(clozes.of(q.topic == topic for q in clozes.questions) for topic in TOPICS))
    told: list[int] = []
    assert build_questions(lm, corpus, TOPICS, CONFIG, "mine", lambda done, _topic: told.append(done)) == clozes
    assert told == sorted(told)
    assert told[-1] == len(TOPICS) * CONFIG.per_topic  # also where fewer are found
    one = {"http": TOPICS["http"]}
    few = CONFIG.model_copy(update={"per_topic": 3})
    first, second = (
        build_questions(lm, corpus, one, few.model_copy(update={"seed": seed}), "mine").questions for seed in (0, 1)
    )
    assert first != second


def test_wrong_choices_are_words_of_the_topic_that_do_not_begin_alike(
    lm: LanguageModel, corpus: CorpusConfig, clozes: QuestionSet
):
    config = CONFIG.model_copy(update={"form": "choices", "per_topic": 8})
    found = build_questions(lm, corpus, TOPICS, config, "mine")
    assert ask(lm, found).right.all()
    source = SourceTokenizer(lm.tokenizer)
    for question in found.questions:
        assert isinstance(question, MultipleChoice)
        assert (question.style, len(question.choices)) == ("continuations", 4)
        right = question.choices[question.answer]
        text = " ".join((Path(corpus.name) / name).read_text() for name in FILES if name.startswith(question.topic))
        for choice in question.choices:
            assert choice.strip() in words(text)
            assert choice.startswith(" ") == right.startswith(" ")
            assert len(source.encode([choice])[0][0]) == len(source.encode([right])[0][0])
            if choice != right:
                assert not choice.strip().lower().startswith(right.strip().lower())
                assert not right.strip().lower().startswith(choice.strip().lower())
    assert len({question.answer for question in found.questions}) > 1


def test_completed_tokens_are_those_that_the_model_says_with_enough_before_them(tiny_lm: LanguageModel):
    ids = torch.randint(1, tiny_lm.d_vocab, (75,), generator=torch.Generator().manual_seed(0)).tolist()
    bos, room, before = tiny_lm.tokenizer.bos_token_id, tiny_lm.context_length - 1, 6
    expected = [False] * 75
    for start in range(0, 75 - before, room - before):
        for at in range(start + before if start else 0, min(75, start + room)):
            prompt = torch.tensor([[bos, *ids[start:at]]])
            likeliest = int(tiny_lm.bridge(prompt, return_type="logits")[0, -1].argmax())
            if at % 5 < 2:
                ids[at] = likeliest  # a text that the model says now and then
            expected[at] = likeliest == ids[at]
    found = completed(tiny_lm, ids, before, 10_000, random.Random(0))
    assert found.tolist() == expected
    assert 25 <= sum(expected) < 75
    some = completed(tiny_lm, ids, before, room, random.Random(0))
    assert not (some & ~found).any()
    assert some.sum() < found.sum()


def test_contexts_hold_the_documents(lm: LanguageModel, corpus: CorpusConfig):
    by_topic = documents_by_topic(corpus, TOPICS)
    assert [document.name for document in by_topic[""]] == ["json/decoder.py"]
    blocks = contexts_of(lm, by_topic[""], most=5, length=64, size=2)
    assert [block.tokens.shape for block in blocks] == [(2, 64), (2, 64), (1, 64)]
    text = b"".join(source for block in blocks for source in block.source)
    assert by_topic[""][0].text.encode().startswith(text)
    with pytest.raises(UserError, match="there is no text"):
        contexts_of(lm, [])
    with pytest.raises(UserError, match="contexts of 512 tokens are more than the model's 256"):
        contexts_of(lm, by_topic[""], length=512)


@pytest.mark.parametrize(
    ("topics", "more", "message"),
    [
        ({}, {}, "no topic is named"),
        ({"a": ("nothing/*",)}, {}, r"topic 'a': no document of '.*' is called nothing/\*"),
        ({"a": ("http/*",), "b": ("*.py",)}, {}, "is of topics 'a' and 'b'; let their patterns not overlap"),
        ({"a": ("http/*",)}, {"prompt_tokens": 256}, "prompts of 256 tokens and a word do not fit .* context of 256"),
        ({"a": ("http/*",)}, {"least_letters": 40, "document_tokens": 256}, "topic 'a': the model demo completes none"),
    ],
)
def test_what_cannot_be_made(lm: LanguageModel, corpus: CorpusConfig, topics, more, message: str):
    with pytest.raises(UserError, match=message):
        build_questions(lm, corpus, topics, CONFIG.model_copy(update=more), "mine")
