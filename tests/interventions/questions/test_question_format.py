"""Questions on the disk, what of them cannot be asked, and sets side by side."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saebench.errors import UserError
from saebench.interventions.questions import (
    Cloze,
    MultipleChoice,
    QuestionSet,
    check_apart,
    read_questions,
    split,
    write_questions,
)
from saebench.interventions.questions.topics import parse_topic, topics_of

MINE = QuestionSet(
    name="mine",
    description="two kinds",
    topics={"gui": ("tkinter/*", "turtle.py")},
    questions=(
        MultipleChoice(id="1", question="What?", choices=("this", "that"), answer=1, topic="high_school_biology"),
        MultipleChoice(id="2", question="x =", choices=(" a", " b"), answer=0, style="continuations"),
        Cloze(id="3", prompt="import\u2028os", answer=" path", wrong=(" sys",), topic="gui", document="turtle.py"),
        Cloze(id="4", prompt="☃", answer="\n"),
    ),
)


def test_questions_come_back_as_they_were_written(tmp_path: Path):
    path = tmp_path / "deep" / "mine.jsonl"
    write_questions(path, MINE)
    assert read_questions(path) == MINE
    assert read_questions(path).sha256 == MINE.sha256
    head, *rows = map(json.loads, path.read_text().removesuffix("\n").split("\n"))
    assert head == {"questions": "mine", "description": "two kinds", "topics": {"gui": ["tkinter/*", "turtle.py"]}}
    assert rows[3] == {"id": "4", "prompt": "☃", "answer": "\n"}


def test_the_identity_changes_with_any_question():
    other = MINE.of([True, True, True, False])
    assert len(other) == 3
    assert other.sha256 != MINE.sha256


HEAD = '{"questions": "mine"}\n'
CHOICE = {"id": "1", "question": "What?", "choices": ["a", "b"], "answer": 0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "questions needs a line about itself and at least one example"),
        (HEAD, "questions needs a line about itself and at least one example"),
        ("[]\n", r"line 1: not a JSON object like \{\"questions\""),
        ('{"questions": "my set"}\n', "line 1: name: String should match"),
        ('{"questions": "mine", "topic": "x"}\n', "line 1: the key 'topic' is unknown"),
        (json.dumps(CHOICE), r"line 1: the key 'questions' is missing; it should look like \{\"questions\""),
        (HEAD + "{\n", r"line 2: not JSON \(Expecting .*, column 2\); it should look like \{\"id\""),
        (HEAD + "3\n", r"line 2: not a JSON object like \{\"id\""),
        (
            HEAD + json.dumps(CHOICE | {"answer": 2}),
            "line 2: no right answer: answer 2 is none of the choices, .*0 to 1",
        ),
        (HEAD + json.dumps(CHOICE | {"answer": -1}), "line 2: no right answer: answer -1"),
        (HEAD + json.dumps(CHOICE | {"choices": ["a", "a"]}), "line 2: the choice 'a' is there twice"),
        (HEAD + json.dumps(CHOICE | {"choices": ["a", ""]}), "line 2: a choice is empty"),
        (HEAD + json.dumps(CHOICE | {"choices": ["a"]}), "line 2: choices: Tuple should have at least 2"),
        (HEAD + json.dumps(CHOICE | {"style": "digits"}), "line 2: style: Input should be 'letters' or 'contin"),
        (HEAD + '{"id": "1", "prompt": "x", "answer": ""}', "line 2: no right answer: answer is empty"),
        (HEAD + '{"id": "1", "prompt": "x"}', "line 2: the key 'answer' is missing"),
        (HEAD + '{"id": "1", "prompt": "x", "answer": "y", "wrong": ["y"]}', "line 2: the answer 'y' is there twice"),
        (HEAD + 2 * (json.dumps(CHOICE) + "\n"), "line 3: id '1' is also in line 2"),
    ],
)
def test_lines_that_are_no_questions(tmp_path: Path, text: str, message: str):
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_questions(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(UserError, match=r"cannot read questions .*none\.jsonl: No such file or directory$"):
        read_questions(tmp_path / "none.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"cannot read questions .*latin\.jsonl: it is not UTF-8 text$"):
        read_questions(tmp_path / "latin.jsonl")


def cloze(name: str, prompt: str = "", topic: str = "", document: str = "") -> Cloze:
    return Cloze(id=name, prompt=prompt or name, answer="y", topic=topic, document=document)


def of(*questions: Cloze | MultipleChoice, name: str = "set") -> QuestionSet:
    return QuestionSet(name=name, questions=questions)


def test_sets_that_are_apart_pass():
    check_apart(of(cloze("1", document="a.py")), of(cloze("2", document="b.py"), cloze("3")))


@pytest.mark.parametrize(
    ("forget", "retain", "message"),
    [
        (of(), of(cloze("1")), "the forget set 'set' has no questions"),
        (of(cloze("1")), of(), "the retain set 'set' has no questions"),
        (of(cloze("1", "same")), of(cloze("7", "same")), "overlap: question '1' of one is '7' of the other"),
        (of(cloze("1", document="a.py")), of(cloze("2", document="a.py")), r"overlap: both have questions from a\.py"),
        (
            of(MultipleChoice(id="1", question="q", choices=("a", "b"), answer=0)),
            of(MultipleChoice(id="2", question="q", choices=("b", "a"), answer=1)),
            "overlap: question '1' of one is '2'",
        ),
    ],
)
def test_empty_and_overlapping_sets(forget: QuestionSet, retain: QuestionSet, message: str):
    with pytest.raises(UserError, match=message):
        check_apart(forget, retain)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5)), min_size=1, max_size=40),
    st.sampled_from([0.2, 0.5, 0.8]),
    st.integers(0, 3),
)
def test_a_split_never_parts_a_document_and_has_every_topic_on_both_sides(drawn, share: float, seed: int):
    rows = [cloze(str(i), topic=topic, document=f"{topic}{document}") for i, (topic, document) in enumerate(drawn)]
    mine = of(*rows, *(cloze(f"more {t}{d}", topic=t, document=f"{t}{d}") for t in "ab" for d in (0, 1)))
    first, second = split(mine, share, seed)
    assert {q.id for q in first.questions} | {q.id for q in second.questions} == {q.id for q in mine.questions}
    assert not {q.document for q in first.questions} & {q.document for q in second.questions}
    for side in (first, second):
        assert {q.topic for q in side.questions} == {"a", "b"}
    assert split(mine, share, seed) == (first, second)


def test_a_split_is_about_as_large_as_asked():
    mine = of(*(cloze(f"{d} {i}", topic="t", document=str(d)) for d in range(40) for i in range(5)))
    assert len(split(mine, 0.25)[0]) == 50
    assert split(mine, seed=0) != split(mine, seed=1)


def test_one_document_cannot_be_split():
    with pytest.raises(UserError, match="all of topic 't' are from a; they cannot be split"):
        split(of(cloze("1", topic="t", document="a"), cloze("2", topic="t", document="a")))


def test_topics_are_patterns_of_document_names():
    topics = dict(map(parse_topic, ["turtle", "gui=tkinter/*,idlelib/*", "rows=data.jsonl#1*"]))
    assert topics["turtle"] == ("turtle.py", "turtle/*")
    for document, own in {
        "turtle.py": ["turtle"], "turtle/demo/x.py": ["turtle"], "turtledemo/x.py": [], "idlelib/a/b.py": ["gui"],
        "data.jsonl#17": ["rows"], "data.jsonl#7": [],
    }.items():  # fmt: skip
        assert topics_of(document, topics) == own
    for bad in ("", "=x", "a=", "a=x,"):
        with pytest.raises(UserError, match="is not NAME or NAME=PATTERN"):
            parse_topic(bad)
