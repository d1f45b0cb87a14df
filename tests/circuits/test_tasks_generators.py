"""What generators make is right by another reading of it: Python's parser for source, counting for prose."""

import ast
import keyword
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from saebench.circuits.tasks import Pair, words
from saebench.circuits.tasks.check import check_task
from saebench.circuits.tasks.registry import TASKS
from saebench.errors import UserError
from saebench.lm.demo_model.sources import Source
from saebench.lm.demo_model.tokens import train_tokenizer
from saebench.lm.tokenizer import load_tokenizer

DEMO = load_tokenizer("demo")


def prose_tokenizer() -> PreTrainedTokenizerBase:
    """One that has every name, place, thing and event as a token, and years as a century and two digits."""
    centuries = "".join(f" {century}" for century in range(11, 18)) * 100
    text = centuries + "".join(
        f" {word}" for word in (*words.NAMES, *words.PLACES, *words.THINGS, *words.EVENTS) for _ in range(9)
    )
    text += "".join(f"\n{number:02}" for number in range(100) for _ in range(9))
    return train_tokenizer([Source("prose", text, 1)], 2500)


PROSE = prose_tokenizer()


def tokenizer_of(name: str) -> PreTrainedTokenizerBase:
    return PROSE if name.startswith(("ioi", "greater")) else DEMO


def parses(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def function_of(source: str) -> ast.FunctionDef:
    """The last function of a source."""
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)][-1]


def closes(prompt: str, word: str) -> bool:
    return parses(prompt + word)


def copies(prompt: str, word: str) -> bool:
    function = function_of(prompt + word + ")")
    [call] = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    return [argument.arg for argument in function.args.args] == [ast.unparse(argument) for argument in call.args]


def is_attribute(prompt: str, word: str) -> bool:
    found = [node for node in ast.walk(ast.parse(prompt + word)) if isinstance(node, ast.Attribute)]
    stored = {node.attr for node in found if isinstance(node.ctx, ast.Store)}
    [loaded] = [node.attr for node in found if isinstance(node.ctx, ast.Load)]
    return loaded in stored


def is_argument(prompt: str, word: str) -> bool:
    function = function_of(f"{prompt}{word} = {word}")
    return word in [argument.arg for argument in function.args.args[1:]]


def is_imported(prompt: str, word: str) -> bool:
    tree = ast.parse(prompt + word)
    bound = {name.asname for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    return ast.unparse(tree.body[-1]).split(" = ")[1] in bound


def documented(prompt: str, word: str) -> tuple[list[str], list[str]]:
    """(parameters but self, those that the docstring names, the last of which is `word`)."""
    indent = re.match(r" *", prompt)[0]
    function = function_of(("class C:\n" if indent else "") + f'{prompt}{word}: so\n{indent}    """')
    lines = ast.get_docstring(function).splitlines()
    assert lines[-1].endswith(f"{word}: so")
    named = [re.search(r"(\w+): ", line)[1] for line in lines if ": " in line]
    return [argument.arg for argument in function.args.args[1:]], named


def is_next_parameter(prompt: str, word: str) -> bool:
    parameters, named = documented(prompt, word)
    return parameters[: len(named)] == named


def is_same_parameter(prompt: str, word: str) -> bool:
    parameters, (last, named) = documented(prompt, word)
    return last == named and named in parameters


def is_receiver(prompt: str, word: str) -> bool:
    found = [name for name in re.findall(r"[A-Z]\w+", prompt) if name in words.NAMES]
    return len(found) == 3 and set(found[:2]) - {found[2]} == {word.strip()}


def is_later(prompt: str, word: str) -> bool:
    start, century = re.search(r"year (\d{4}) to the year (\d\d)$", prompt).groups()
    return int(century + word) > int(start)


RIGHT: dict[str, Callable[[str, str], bool]] = {
    "close-bracket": closes,
    "close-outer": closes,
    "copy-identifier": copies,
    "self-attribute": is_attribute,
    "init-argument": is_argument,
    "import-alias": is_imported,
    "docstring-param": is_next_parameter,
    "docstring-args": is_next_parameter,
    "docstring-type": is_same_parameter,
    "docstring": is_next_parameter,
    "ioi": is_receiver,
    "ioi-abba": is_receiver,
    "ioi-baba": is_receiver,
    "ioi-abc": is_receiver,
    "greater-than": is_later,
}
AFTER_PATCH = {"ioi-abc": (False, False), "greater-than": (True, True)}
"""(answer, wrong) right after the patched prompt, where that is not (False, True)."""


def test_every_task_is_tested():
    assert list(RIGHT) == list(TASKS)
    assert all(name == generator.name for name, generator in TASKS.items())


@pytest.mark.parametrize("name", TASKS)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_answers_are_right_and_prompts_differ_in_what_makes_them_so(name: str, seed: int):
    task = TASKS[name](tokenizer_of(name), 5, seed)
    encoded = check_task(task, tokenizer_of(name), 60)
    assert len(set(task.pairs)) == len(encoded) == 5
    right = RIGHT[name]
    for row, pair in enumerate(task.pairs):
        assert right(pair.clean, pair.answer)
        assert not right(pair.clean, pair.wrong)
        after = right(pair.patch, pair.answer), right(pair.patch, pair.wrong)
        assert after == AFTER_PATCH.get(name, (False, True))
        changed = {
            pair_of for pair_of in zip(encoded.clean[row], encoded.patch[row], strict=True) if len({*pair_of}) > 1
        }
        assert len(changed) == (3 if name == "ioi-abc" else 1)  # one word for another, wherever it stands


@pytest.mark.parametrize("name", TASKS)
def test_a_seed_gives_one_task_and_another_seed_another(name: str):
    generate, tokenizer = TASKS[name], tokenizer_of(name)
    assert generate(tokenizer, 4, 1) == generate(tokenizer, 4, 1)
    assert generate(tokenizer, 4, 1).pairs != generate(tokenizer, 4, 2).pairs
    assert generate(tokenizer, 8, 1).pairs[:4] == generate(tokenizer, 4, 1).pairs or not generate.templated


@pytest.mark.parametrize("name", TASKS)
def test_both_answers_come_first_about_as_often(name: str):
    """Otherwise a circuit for the answer could be one for a word that is always right."""
    pairs = TASKS[name](tokenizer_of(name), 40, 0).pairs
    assert len({pair.answer for pair in pairs}) >= min(2, len(pairs))
    most = max(sum(pair.answer == other.answer for pair in pairs) for other in pairs)
    assert most <= 0.75 * len(pairs)


@pytest.mark.parametrize(
    ("name", "tokenizer", "says"),
    [
        ("ioi", DEMO, r"words like 'store', each one token; this tokenizer has too few of them: \d+"),
        ("close-bracket", PROSE, "words like 'add'"),
    ],
)
def test_a_tokenizer_that_lacks_the_words_is_named_in_one_line(name: str, tokenizer, says: str):
    with pytest.raises(UserError, match=f"task '{name}'.*{says}"):
        TASKS[name](tokenizer, 10, 0)


def test_more_examples_than_there_are_is_an_error():
    some = dict.fromkeys(words.NAMES[:5])
    text = "".join(f" {word}" for word in (*some, *words.PLACES, *words.THINGS) for _ in range(9))
    few = train_tokenizer([Source("few", text, 1)], 600)
    with pytest.raises(UserError, match=r"allows \d+ of 5000 different examples"):
        TASKS["ioi-abba"](few, 5000, 0)
    with pytest.raises(UserError, match="at least 1"):
        TASKS["ioi-abba"](few, 0, 0)


def test_years_that_are_no_two_tokens_are_left_out_and_digit_by_digit_is_refused():
    text = "".join(f" {word}" for word in words.EVENTS for _ in range(9))
    with pytest.raises(UserError, match=r"allows 0 of 5 different examples; .*must be one"):
        TASKS["greater-than"](train_tokenizer([Source("digits", text, 1)], 1200), 5, 0)


def test_identifiers_are_none_of_pythons_keywords_and_no_pool_has_a_word_twice():
    pools = [pool for pool in vars(words).values() if isinstance(pool, tuple)]
    assert len(pools) == 10
    for pool in pools:
        assert len(set(pool)) == len(pool)
        assert not any(map(keyword.iskeyword, pool))


def test_pairs_of_one_example_never_name_a_word_for_two_things():
    for pair in TASKS["self-attribute"](DEMO, 50, 0).pairs:
        names = re.findall(r"class (\w+)|def (?!__)(\w+)|self, (\w+)|self\.(\w+) =", pair.clean)
        found = ["".join(groups).lower() for groups in names]
        assert len(found) == len(set(found)) == 4
        assert isinstance(pair, Pair)
