"""A task that fits a tokenizer is encoded as the tokenizer itself would; one that does not is named in one line."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saebench.circuits.tasks import Pair, Task, read_task
from saebench.circuits.tasks.check import check_task
from saebench.errors import UserError
from saebench.lm.tokenizer import load_tokenizer

TOKENIZER = load_tokenizer("demo")
GOOD = Pair(clean="x = a[b", patch="x = a(b", answer="]", wrong=")")


def task(*pairs: Pair, templated: bool = False) -> Task:
    return Task(name="t", templated=templated, pairs=pairs)


def test_begins_with_the_begin_token_and_holds_the_prompt():
    found = check_task(task(GOOD), TOKENIZER, 256)
    bos = TOKENIZER.bos_token_id
    assert bos is not None
    assert found.clean == [[bos, *TOKENIZER("x = a[b")["input_ids"]]]
    assert found.patch == [[bos, *TOKENIZER("x = a(b")["input_ids"]]]
    assert [TOKENIZER.decode([i]) for i in (*found.answers, *found.wrongs)] == ["]", ")"]
    assert len(found) == 1


def test_without_a_begin_token_there_is_only_the_prompt():
    tokenizer = load_tokenizer("demo")
    tokenizer.bos_token = None
    assert check_task(task(GOOD), tokenizer, 256).clean == [tokenizer("x = a[b")["input_ids"]]


def test_patch_and_wrong_are_none_where_the_task_has_none():
    found = check_task(task(Pair(clean="x = a[b", answer="]"), Pair(clean="y", answer=" =")), TOKENIZER, 256)
    assert found.patch is None
    assert found.wrongs is None


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"patch": "x = a(b + 1"}, "equally long"),
        ({"answer": "] = zzqqzz"}, "must be one"),
        ({"wrong": " zzqqzz"}, "must be one"),
        ({"answer": ")"}, "both"),
        ({"clean": "x = f(", "patch": "y = f(", "answer": ")", "wrong": "1"}, "joined"),
        ({"patch": None}, "'patch'"),
        ({"wrong": None}, "'wrong'"),
        ({"clean": "x = 1\n" * 90 + "a[b", "patch": "x = 1\n" * 90 + "a(b"}, "the model reads 256"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_number_of_the_example(bad: dict, says: str):
    pair = GOOD.model_copy(update=bad)
    with pytest.raises(UserError, match=r"task 't', example 3: ") as error:
        check_task(task(GOOD, GOOD, pair), TOKENIZER, 256)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_an_empty_prompt_is_an_error():
    with pytest.raises(UserError, match="example 1: the clean prompt is empty"):
        check_task(task(GOOD.model_copy(update={"clean": "", "patch": None})), TOKENIZER, 256)


def test_examples_of_a_templated_task_have_one_length():
    longer = Pair(clean="x = abc[b, c", patch="x = abc(b, c", answer="]", wrong=")")
    assert len(check_task(task(GOOD, longer), TOKENIZER, 256)) == 2
    with pytest.raises(UserError, match=r"example 2: .*example 1 has"):
        check_task(task(GOOD, longer, templated=True), TOKENIZER, 256)


def test_a_prompt_as_long_as_the_context_is_taken():
    length = 1 + len(TOKENIZER(GOOD.clean)["input_ids"])
    assert check_task(task(GOOD), TOKENIZER, length)
    with pytest.raises(UserError, match=f"is {length} tokens, the model reads {length - 1}"):
        check_task(task(GOOD), TOKENIZER, length - 1)


TEXT = st.text(min_size=1, max_size=12)
WORD = st.text("ab])( \n", min_size=1, max_size=3)


@settings(max_examples=40, deadline=None)
@given(clean=TEXT, patch=TEXT, answer=WORD)
def test_taken_or_refused_as_tokenizing_the_whole_says(clean: str, patch: str, answer: str):
    def ids(text: str) -> list[int]:
        return TOKENIZER(text, add_special_tokens=False)["input_ids"]

    one = [ids(prompt + answer)[:-1] == ids(prompt) for prompt in (clean, patch)]
    same = ids(clean + answer)[-1] == ids(patch + answer)[-1]
    fits = all(one) and same and len(ids(clean)) == len(ids(patch))
    try:
        found = check_task(task(Pair(clean=clean, patch=patch, answer=answer)), TOKENIZER, 256)
    except UserError:
        assert not fits
    else:
        assert fits
        assert found.answers == ids(clean + answer)[-1:]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"clean": "x", "answer": "y"}'], "line 1: the key 'task' is missing; it should look like {\"task\": …}"),
        (['{"task": "t", "pairs": []}', "{}"], 'line 1: not a JSON object like {"task": …}'),
        (['{"task": "t", "name": "u"}', "{}"], "line 1: the key 'name' is unknown; the name stands under 'task'"),
        (['{"task": "t"}', '{"clean": "x"}'], "line 2: the key 'answer' is missing"),
        (['{"task": "t"}', '{"clean": "x", "answer": "y", "wrog": "z"}'], "line 2: the key 'wrog' is unknown"),
        (['{"task": "t"}', '{"clean": "x"'], "line 2: not JSON (Expecting ',' delimiter, column 14); it should look"),
        (['{"task": "t"}', '["x", "y"]'], 'line 2: not a JSON object like {"clean": …, "answer": …}'),
        (['{"task": "t"}', "[" * 100_000], 'line 2: not a JSON object like {"clean": …, "answer": …}'),
    ],
)
def test_a_file_that_is_no_task_is_one_line(tmp_path: Path, lines: list[str], message: str):
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(UserError) as refused:
        read_task(path)
    assert str(refused.value).startswith(f"{path}, {message}")
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path):
    with pytest.raises(UserError) as refused:
        read_task(tmp_path / "none.jsonl")
    assert str(refused.value) == f"cannot read task {tmp_path / 'none.jsonl'}: No such file or directory"
