"""What is asked of a language model and how its answers are read and counted."""

import numpy as np
import pytest
from endpoint import Endpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from saebench.explaining import judging, words
from saebench.explaining.chat import Chat
from saebench.explaining.config import EndpointConfig
from saebench.explaining.judging import Judgement, judge
from saebench.explaining.windows import Window


def window(text, *strong):
    pieces = text.split("|")
    active = tuple(float(i in strong) for i in range(len(pieces)))
    return Window(tuple(pieces), active, tuple(a > 0 for a in active))


POSITIVES = [window(f"def| f{i}|(x)", 1) for i in range(7)]
NEGATIVES = [window(f"no| g{i}|[x]") for i in range(4)]


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=8), st.text(max_size=20), st.text(max_size=20))
def test_a_list_is_read_wherever_it_stands(truth, before, after):
    before, after = (text.replace("]", "").replace("[", "") for text in (before, after))
    assert judging.parse(f"{before}[1, 0, 1, 1, 0, 1, 0, 0, 1]{[int(t) for t in truth]}{after}", len(truth)) == truth


@pytest.mark.parametrize("answer", ["", "yes", "[1]", "[1, 0, 2]", "[1 0]", "1, 0"])
def test_what_is_no_answer(answer):
    assert judging.parse(answer, 2) is None


def ask(answer, scorer="detection", per_prompt=3):
    with Endpoint(answer=answer) as server, Chat(EndpointConfig(url=server.url, model="m", retries=0), None) as chat:
        result = judge(chat, scorer, "calls", POSITIVES, NEGATIVES, per_prompt, np.random.default_rng(0))
        return result, [request["messages"][1]["content"] for request in server.requests]


def texts_of(question):
    return question.partition("\n\n")[2].split("\n")


def test_right_answers_and_guesses():
    right, asked = ask(lambda m: str([int("(x)" in text) for text in texts_of(m[1]["content"])]))
    assert right == Judgement(7, 7, 4, 4, 0)
    assert right.score == 1.0
    assert len(asked) == 4
    assert all(question.startswith("Description: calls\n\nText 1: ") for question in asked)
    shown = sorted(text.partition(": ")[2] for question in asked for text in texts_of(question))
    assert shown == sorted(w.plain for w in POSITIVES + NEGATIVES)  # each once, with nothing marked
    always, _ = ask(lambda m: str([1] * len(texts_of(m[1]["content"]))))
    assert (always, always.score) == (Judgement(7, 7, 4, 0, 0), 0.5)


def test_fuzzing_shows_marks():
    _, asked = ask(lambda m: str([1] * len(texts_of(m[1]["content"]))), "fuzzing")
    assert sum(question.count("«") for question in asked) == 7
    assert any("def« f3»(x)" in question for question in asked)


def test_unreadable_answers_are_asked_for_again_then_left_out():
    result, asked = ask(lambda m: "maybe" if "g1" in m[1]["content"] else str([1] * len(texts_of(m[1]["content"]))))
    assert result.unanswered in (2, 3)  # the last question is about two
    assert result.positives + result.negatives == 11 - result.unanswered
    assert len(asked) == 5
    nothing, _ = ask(lambda _: "maybe")
    assert (nothing.unanswered, nothing.score) == (11, None)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("EXPLANATION: names of  functions", "names of functions"),
        ('I think …\n**Explanation:** "calls"\n', "calls"),
        ("EXPLANATION: the token ' x'", "the token ' x'"),
        ("first EXPLANATION: a\nEXPLANATION: b", "b"),
        ("just words\nthe last line", "the last line"),
        ("EXPLANATION: " + "x" * 900, "x" * 500),
    ],
)
def test_explanations_are_one_line(answer, text):
    assert words.parse(answer) == text


def test_what_the_explaining_model_sees():
    shown = words.prompt([window("def| f|(x)", 1), window("a| b", 0)])
    assert shown == "Example 1: def« f»(x)\nActive: ' f' 10\n\nExample 2: «a» b\nActive: 'a' 10"
