"""Answers against asking one text at a time through the bridge, with prompts and sums written out by hand."""

from itertools import permutations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saebench.errors import UserError
from saebench.interventions import Add, Hooked, generate, intervened
from saebench.interventions.questions import Cloze, MultipleChoice, QuestionSet, ask, known, said
from saebench.interventions.questions.asking import _over_orders
from saebench.interventions.questions.templates import orders_of, readable, worded
from saebench.lm import LanguageModel, load_lm
from saebench.saes import SAE, TopK

PROMPTS = (
    "import os\nimport",
    "def read(self, path):\n    with open(path) as",
    "class A(object):\n    def __init__(self",
    "x = [1, 2",
    "for i in range(10):\n    print(",
    "if __name__ == '__main__':\n   ",
    "self.assertEqual(a",
    "from typing import",
)


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return load_lm(precision="float32")


def ids(lm: LanguageModel, text: str) -> list[int]:
    return [lm.tokenizer.bos_token_id, *lm.tokenizer(text, add_special_tokens=False)["input_ids"]]


def next_logprobs(lm: LanguageModel, text: str) -> torch.Tensor:
    return lm.bridge(torch.tensor([ids(lm, text)]), return_type="logits")[0].detach().double().log_softmax(-1)


def logprob(lm: LanguageModel, prompt: str, answer: str) -> float:
    n, whole = len(ids(lm, prompt)), ids(lm, prompt + answer)
    found = next_logprobs(lm, prompt + answer)
    return sum(float(found[at - 1, whole[at]]) for at in range(n, len(whole)))


def greedy(lm: LanguageModel, prompt: str, n: int) -> list[int]:
    return generate(lm, torch.tensor(ids(lm, prompt)), n).tokens.tolist()


def test_a_cloze_question_is_right_if_its_answer_is_what_the_model_generates(lm: LanguageModel):
    rows = []
    for number, prompt in enumerate(PROMPTS):
        for n in (1, 3):
            said = lm.tokenizer.decode(greedy(lm, prompt, n))
            for answer in (said, said[:-1] + "q", " os"):
                whole = ids(lm, prompt + answer)
                if answer.strip() and whole[: len(ids(lm, prompt))] == ids(lm, prompt):
                    rows.append(Cloze(id=f"{number} {n} {answer}", prompt=prompt, answer=answer))
    rows = list({row.id: row for row in rows}.values())
    found = ask(lm, QuestionSet(name="s", questions=tuple(rows)))
    expected = []
    for row in rows:
        answer = ids(lm, row.prompt + row.answer)[len(ids(lm, row.prompt)) :]
        expected.append(greedy(lm, row.prompt, len(answer)) == answer)
    assert found.right.tolist() == expected
    assert 5 < sum(expected) < len(rows) - 5
    assert ((found.margin > 0) == found.right).all()
    assert found.share.tolist() == [float(right) for right in expected]
    for row, value in zip(rows, found.logprob.tolist(), strict=True):
        assert value == pytest.approx(logprob(lm, row.prompt, row.answer), abs=1e-3)


def test_wrong_answers_give_the_margin_and_not_the_verdict(lm: LanguageModel):
    mine = Cloze(id="1", prompt="import os\nimport", answer=" zipfile", wrong=(" sys", " xyzzy", " unittest.mock"))
    found = ask(lm, QuestionSet(name="s", questions=(mine,)))
    wrong = max(logprob(lm, mine.prompt, text) for text in mine.wrong)
    assert float(found.margin) == pytest.approx(logprob(lm, mine.prompt, mine.answer) - wrong, abs=1e-3)
    least = mine.model_copy(update={"wrong": (" xyzzy",)})
    found = ask(lm, QuestionSet(name="s", questions=(least,)))
    assert float(found.margin) > 0
    assert not found.right.any()


CHOICES = (" sys", " os.path", " xyzzy", " unittest", " def")


def test_continuations_are_compared_by_the_sum_of_their_log_probabilities(lm: LanguageModel):
    rows = tuple(
        MultipleChoice(id=f"{i} {j}", question=prompt, choices=CHOICES, answer=j, style="continuations")
        for i, prompt in enumerate(PROMPTS)
        for j in range(len(CHOICES))
        if not prompt.endswith("   ")
    )
    found = ask(lm, QuestionSet(name="s", questions=rows))
    texts = {row.question: [logprob(lm, row.question, choice) for choice in CHOICES] for row in rows[:: len(CHOICES)]}
    for row, right, margin in zip(rows, found.right.tolist(), found.margin.tolist(), strict=True):
        each = list(texts[row.question])
        own = each.pop(row.answer)
        assert margin == pytest.approx(own - max(each), abs=1e-3)
        assert right == (own > max(each))
    assert int(found.right.sum()) == len(PROMPTS) - 1  # one choice is the likeliest of each


def test_what_a_model_says_to_a_cloze_question_is_what_it_generates_up_to_its_first_mistake(lm: LanguageModel):
    rows, expected = [], []
    for number, prompt in enumerate(PROMPTS):
        written = greedy(lm, prompt, 3)
        for answer in (lm.tokenizer.decode(written), " os", " unittest"):
            whole, n = ids(lm, prompt + answer), len(ids(lm, prompt))
            right = whole[n:]
            if not answer.strip() or whole[:n] != ids(lm, prompt):
                continue
            rows.append(Cloze(id=f"{number} {answer}", prompt=prompt, answer=answer))
            says = greedy(lm, prompt, len(right))
            agree = next((i for i, (a, b) in enumerate(zip(says, right, strict=True)) if a != b), len(right))
            expected.append(lm.tokenizer.decode(says[: agree + 1]))
    found = said(lm, QuestionSet(name="s", questions=tuple(rows)))
    assert found == expected
    right = ask(lm, QuestionSet(name="s", questions=tuple(rows))).right.tolist()
    assert [says == row.answer for says, row in zip(found, rows, strict=True)] == right
    assert 0 < sum(right) < len(right)


def test_what_a_model_says_to_multiple_choice_is_its_likeliest_choice(lm: LanguageModel):
    rows = tuple(
        MultipleChoice(id=prompt, question=prompt, choices=CHOICES, answer=3, style="continuations")
        for prompt in PROMPTS
        if not prompt.endswith("   ")
    )
    expected = [max(CHOICES, key=lambda choice, row=row: logprob(lm, row.question, choice)) for row in rows]
    assert said(lm, QuestionSet(name="s", questions=rows)) == expected
    assert len(set(expected)) > 1
    letters = said(lm, LETTERED)
    for question, says in zip(LETTERED.questions, letters, strict=True):
        assert isinstance(question, MultipleChoice)
        margin, _ = by_hand(lm, question, tuple(range(len(question.choices))))
        assert (says == question.right) == (margin > 0)
        assert says in question.choices
    assert said(lm, QuestionSet(name="none")) == []


LETTERED = QuestionSet(
    name="s",
    questions=(
        MultipleChoice(id="1", question="Which opens files?", choices=("open", "print", "len"), answer=0, topic="a_b"),
        MultipleChoice(id="2", question="Which is a module?", choices=("os", "self"), answer=1),
        MultipleChoice(id="3", question="A or B?", choices=("B", "A", "C", "D"), answer=2, topic="letters"),
    ),
)


def by_hand(lm: LanguageModel, question: MultipleChoice, order: tuple[int, ...]) -> tuple[float, float]:
    """(margin, log p) of one order, with the template written out."""
    about = {"a_b": " about a b", "": "", "letters": " about letters"}[question.topic]
    text = f"The following are multiple choice questions (with answers){about}.\n\n{question.question}\n"
    for letter, choice in zip("ABCD", order, strict=False):
        text += f"{letter}. {question.choices[choice]}\n"
    last = next_logprobs(lm, text + "Answer:")[-1]
    each = [float(last[lm.tokenizer.convert_tokens_to_ids(f"Ġ{letter}")]) for letter in "ABCD"[: len(order)]]
    own = each.pop(order.index(question.answer))
    return own - max(each), own


def test_letters_are_asked_in_every_order(lm: LanguageModel):
    seen: list[int] = []
    found = ask(lm, LETTERED, progress=seen.append)
    given_order = ask(lm, LETTERED, "given")
    assert seen[-1] == 3
    for row, question in enumerate(LETTERED.questions):
        assert isinstance(question, MultipleChoice)
        n = len(question.choices)
        ways = [by_hand(lm, question, order) for order in permutations(range(n))]
        assert float(found.margin[row]) == pytest.approx(min(margin for margin, _ in ways), abs=1e-3)
        assert float(found.logprob[row]) == pytest.approx(sum(own for _, own in ways) / len(ways), abs=1e-3)
        assert float(found.share[row]) == pytest.approx(sum(margin > 0 for margin, _ in ways) / len(ways))
        assert bool(found.right[row]) == all(margin > 0 for margin, _ in ways)
        margin, own = by_hand(lm, question, tuple(range(n)))
        assert float(given_order.margin[row]) == pytest.approx(margin, abs=1e-3)
        assert float(given_order.logprob[row]) == pytest.approx(own, abs=1e-3)
        assert bool(given_order.right[row]) == (margin > 0)
    assert 0 < float(found.share.mean()) < 1


def test_right_is_right_in_every_order():
    asked = torch.tensor([[1, 0.5, -1], [1, 0.2, -3], [1, 3, -1], [0, -1, -2], [1, 2, -1.5]], dtype=torch.float64)
    found = _over_orders(torch.tensor([0, 0, 1, 1, 2]), asked, 3)
    assert found.right.tolist() == [True, False, True]
    assert found.share.tolist() == [1, 0.5, 1]
    assert found.margin.tolist() == [0.2, -1, 2]
    assert found.logprob.tolist() == [-2, -1.5, -1.5]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(3)), style=st.sampled_from(["letters", "continuations"]), answer=st.integers(0, 2))
def test_the_order_in_which_choices_are_written_changes_nothing(lm: LanguageModel, order, style, answer: int):
    choices = (" sys", " self", " os")
    first = MultipleChoice(id="1", question="import", choices=choices, answer=answer, style=style)
    moved = tuple(choices[i] for i in order)
    second = MultipleChoice(id="2", question="import", choices=moved, answer=list(order).index(answer), style=style)
    found = ask(lm, QuestionSet(name="s", questions=(first, second)))
    assert found.right[0] == found.right[1]
    assert float(found.share[0]) == float(found.share[1])
    assert float(found.margin[0]) == pytest.approx(float(found.margin[1]), abs=1e-4)


def test_orders():
    assert sorted(orders_of(4)) == sorted(permutations(range(4)))
    assert orders_of(4)[0] == (0, 1, 2, 3)
    many = orders_of(6)
    assert many[0] == tuple(range(6))
    assert all(sorted(order[place] for order in many) == list(range(6)) for place in range(6))


def test_known_keeps_what_is_right(lm: LanguageModel):
    said = lm.tokenizer.decode(greedy(lm, PROMPTS[1], 1))
    rows = (Cloze(id="y", prompt=PROMPTS[1], answer=said), Cloze(id="n", prompt=PROMPTS[1], answer=" xyzzy"))
    assert [q.id for q in known(lm, QuestionSet(name="s", questions=rows)).questions] == ["y"]
    with pytest.raises(UserError, match="the model demo gets none of the 1 questions of 's' right"):
        known(lm, QuestionSet(name="s", questions=rows[1:]))


def test_interventions_are_felt(lm: LanguageModel):
    sae = SAE.create(256, 64, TopK(k=4), 0).eval()
    saes = {"s": Hooked(sae, "blocks.2.hook_resid_post")}
    rows = tuple(Cloze(id=p, prompt=p, answer=" os", wrong=(" sys",)) for p in ("import", "import os\nimport"))
    mine = QuestionSet(name="s", questions=(*rows, *LETTERED.questions[:1]))
    plain = ask(lm, mine)
    with intervened(lm, [Add(sae="s", feature=3, activation=40.0)], saes):
        changed = ask(lm, mine)
        for row, question in enumerate(rows):
            expected = logprob(lm, question.prompt, " os") - logprob(lm, question.prompt, " sys")
            assert float(changed.margin[row]) == pytest.approx(expected, abs=1e-3)
        assert isinstance(LETTERED.questions[0], MultipleChoice)
        ways = [by_hand(lm, LETTERED.questions[0], order)[0] for order in permutations(range(3))]
        assert float(changed.margin[2]) == pytest.approx(min(ways), abs=1e-3)
    assert ((changed.margin - plain.margin).abs() > 0.01).all()
    assert torch.equal(ask(lm, mine).margin, plain.margin)


def test_overflow_is_one_line(lm: LanguageModel):
    saes = {"s": Hooked(SAE.create(256, 64, TopK(k=4), 0).eval(), "blocks.3.hook_resid_post")}
    with (
        intervened(lm, [Add(sae="s", feature=3, activation=1e38)], saes),
        pytest.raises(UserError, match=r"activations at blocks\.3\.hook_resid_post overflow .*; use smaller strengths"),
    ):
        ask(lm, QuestionSet(name="s", questions=(Cloze(id="1", prompt="import", answer=" os"),)))


LONG = "word " * 300


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (Cloze(id="q", prompt=LONG, answer=" os"), r"question 'q': \d+ tokens with its longest answer, .* reads 256"),
        (MultipleChoice(id="q", question=LONG, choices=("a", "b"), answer=0), r"question 'q': \d+ tokens"),
        (Cloze(id="q", prompt="impo", answer="rt"), "question 'q': answer 'rt' is joined to the end of the prompt"),
    ],
)
def test_questions_that_do_not_fit_the_model(lm: LanguageModel, question: Cloze | MultipleChoice, message: str):
    mine = QuestionSet(name="s", questions=(Cloze(id="ok", prompt="import", answer=" os"), question))
    with pytest.raises(UserError, match=message):
        ask(lm, mine)
    kept, refused = readable(lm, mine)
    assert [q.id for q in kept.questions] == ["ok"]
    assert len(refused) == 1
    with pytest.raises(UserError, match="can be asked none of the questions of 's'; the first: questions 's'"):
        readable(lm, mine.of([False, True]))


def test_a_prompt_may_fill_the_context(lm: LanguageModel):
    text = " word" * 255
    assert len(ids(lm, text)) == 256
    assert len(ask(lm, QuestionSet(name="s", questions=(Cloze(id="1", prompt=text, answer=" os"),)))) == 1


def test_no_questions_is_an_error(lm: LanguageModel):
    with pytest.raises(UserError, match="questions 's': there are none to ask"):
        ask(lm, QuestionSet(name="s"))


def test_letters_need_a_token_each(tiny_lm: LanguageModel):
    """Its vocabulary of 384 has no token for a space and a letter."""
    mine = MultipleChoice(id="q", question="?", choices=("a", "b"), answer=0)
    assert [prompt[-2:] for prompt, _ in worded(mine)] == ["r:", "r:"]
    with pytest.raises(UserError, match='ask with "style": "continuations"'):
        ask(tiny_lm, QuestionSet(name="s", questions=(mine,)))
