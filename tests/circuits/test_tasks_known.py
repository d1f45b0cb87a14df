"""What a model knows of a task, against asking it one prompt at a time."""

from pathlib import Path

import pytest
import torch

from saebench.circuits.tasks import Pair, Task, write_task
from saebench.circuits.tasks.files import find_task, task_names, task_path
from saebench.circuits.tasks.known import Answers, answers, keep_known
from saebench.circuits.tasks.registry import TASKS
from saebench.errors import UserError
from saebench.lm import LanguageModel, load_lm

TASK = Task(
    name="t",
    pairs=tuple(
        Pair(clean=f"{a} = {b}[{c}", patch=f"{a} = {b}({c}", answer="]", wrong=")")
        for a in "xyz" for b in ("a", "def", "self") for c in ("i", "return", "i + i")
    ),
)  # fmt: skip


def next_logits(lm: LanguageModel, prompt: str) -> torch.Tensor:
    """Through the bridge and the tokenizer's front door."""
    ids = lm.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    return lm.bridge(torch.tensor([[lm.tokenizer.bos_token_id, *ids]]), return_type="logits")[0, -1]


def test_answers_are_those_of_one_prompt_at_a_time(tiny_lm: LanguageModel):
    seen: list[int] = []
    found = answers(tiny_lm, TASK, seen.append)
    assert seen[-1] == 2 * len(TASK.pairs)
    square, round_ = (tiny_lm.tokenizer.convert_tokens_to_ids(bracket) for bracket in "])")
    for row, pair in enumerate(TASK.pairs):
        clean, patch = next_logits(tiny_lm, pair.clean), next_logits(tiny_lm, pair.patch)
        assert found.top1[row] == (clean.argmax() == square)
        assert found.preferred[row] == (clean[square] > clean[round_])
        assert found.reversed[row] == (patch[round_] > patch[square])


def test_without_wrong_answers_only_top1_is_known(tiny_lm: LanguageModel):
    likeliest = tiny_lm.tokenizer.decode([int(next_logits(tiny_lm, "x = a").argmax())])
    task = Task(name="t", pairs=(Pair(clean="x = a", answer=likeliest), Pair(clean="x = a", answer="]")))
    found = answers(tiny_lm, task)
    assert (found.top1.tolist(), found.preferred, found.reversed) == ([True, likeliest == "]"], None, None)


def test_keeps_what_is_right_by_either_criterion():
    found = Answers(torch.tensor([True, False, False] * 9), torch.tensor([True, True, False] * 9), None)
    assert keep_known(TASK, found).pairs == tuple(pair for i, pair in enumerate(TASK.pairs) if i % 3 < 2)
    assert keep_known(TASK, found, "top1").pairs == TASK.pairs[::3]
    only = Answers(found.top1, None, None)
    assert keep_known(TASK, only).pairs == TASK.pairs[::3]


def test_nothing_known_is_an_error():
    nothing = torch.zeros(len(TASK.pairs), dtype=torch.bool)
    with pytest.raises(UserError, match="none of the 27 examples of task 't' right"):
        keep_known(TASK, Answers(nothing, nothing, None))


@pytest.mark.parametrize("name", [name for name, generator in TASKS.items() if generator.models == "demo"])
def test_the_demo_model_does_the_tasks_made_for_it(name: str):
    found = answers(lm := demo(), TASKS[name](lm.tokenizer, 40, 1))
    assert found.preferred.float().mean() >= 0.85
    assert found.reversed.float().mean() >= 0.85
    assert found.top1.float().mean() >= 0.6


def demo(opened: list[LanguageModel] = []) -> LanguageModel:  # noqa: B006 (opened once, and only where it is needed)
    if not opened:
        opened.append(load_lm("demo"))
    return opened[0]


def test_tasks_of_a_workspace_by_name(tmp_path: Path):
    assert task_names(tmp_path) == []
    write_task(task_path(tmp_path, "t"), TASK)
    assert task_names(tmp_path) == ["t"]
    assert find_task(tmp_path, "t") == TASK
    with pytest.raises(UserError, match=r"no task '\.\./t'; it has: t; make one"):
        find_task(tmp_path, "../t")
