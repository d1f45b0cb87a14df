"""WMDP and MMLU from folders laid out as on the hub: configurations in the card, Parquet beneath."""

from pathlib import Path

import datasets
import pytest

from saebench.errors import UserError
from saebench.interventions.questions import MultipleChoice
from saebench.interventions.questions.hub import read_hub, read_mmlu, read_wmdp

ROW = {"question": " What? ", "choices": ["a", "b", "c", "d"], "answer": 2}


def folder(path: Path, configs: dict[str, list[dict]]) -> str:
    """A dataset of the hub's layout: `README.md` names the configurations, `CONFIG/test-00000-of-00001.parquet`."""
    lines = ["---", "configs:"]
    for config, rows in configs.items():
        (path / config).mkdir(parents=True)
        datasets.Dataset.from_list(rows).to_parquet(path / config / "test-00000-of-00001.parquet")
        lines += [f"- config_name: {config}", "  data_files:", "  - split: test", f"    path: {config}/test-*"]
    (path / "README.md").write_text("\n".join([*lines, "---", ""]))
    return str(path)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


def test_wmdp(tmp_path: Path):
    path = folder(tmp_path / "wmdp", {"wmdp-bio": [ROW, ROW | {"answer": 0}], "wmdp-cyber": [ROW]})
    bio, refused = read_wmdp("wmdp-bio", path)
    assert (bio.name, refused) == ("wmdp-bio", [])
    assert bio.questions == (
        MultipleChoice(id="wmdp-bio#0", question="What?", choices=("a", "b", "c", "d"), answer=2, topic="biology"),
        MultipleChoice(id="wmdp-bio#1", question="What?", choices=("a", "b", "c", "d"), answer=0, topic="biology"),
    )
    assert [q.topic for q in read_wmdp("wmdp-cyber", path)[0].questions] == ["cybersecurity"]


def test_mmlu_by_continuations(tmp_path: Path):
    path = folder(tmp_path / "mmlu", {"anatomy": [{"subject": "anatomy", **ROW}]})
    found, _ = read_mmlu("anatomy", path, style="continuations")
    assert found.name == "mmlu-anatomy"
    (only,) = found.questions
    assert isinstance(only, MultipleChoice)
    assert (only.question, only.choices, only.topic) == ("What?\nAnswer:", (" a", " b", " c", " d"), "anatomy")


def test_answers_that_are_class_labels(tmp_path: Path):
    features = datasets.Features(
        question=datasets.Value("string"), choices=datasets.Sequence(datasets.Value("string")),
        answer=datasets.ClassLabel(names=["A", "B", "C", "D"]),
    )  # fmt: skip
    path = Path(folder(tmp_path / "mmlu", {"anatomy": [ROW]}))
    datasets.Dataset.from_list([ROW], features=features).to_parquet(path / "anatomy" / "test-00000-of-00001.parquet")
    (only,) = read_mmlu("anatomy", str(path))[0].questions
    assert only.answer == 2


def test_rows_that_cannot_be_asked_are_named(tmp_path: Path):
    rows = [ROW, ROW | {"choices": ["a", "a", "c", "d"]}, ROW | {"answer": 4}]
    path = folder(tmp_path / "wmdp", {"wmdp-chem": rows, "bad": rows[1:]})
    found, refused = read_wmdp("wmdp-chem", path)
    assert [q.id for q in found.questions] == ["wmdp-chem#0"]
    assert refused[0].startswith("wmdp-chem#1: the choice 'a' is there twice")
    assert refused[1].startswith("wmdp-chem#2: no right answer: answer 4")
    with pytest.raises(UserError, match="has no question that can be asked; the first: x#0: the choice"):
        read_hub(path, "bad", "test", "x", "")


def test_datasets_that_are_none(tmp_path: Path):
    path = folder(tmp_path / "wmdp", {"wmdp-bio": [{"question": "?", "answer": 1}]})
    with pytest.raises(UserError, match=r"has no column 'choices' \(it has: question, answer\)"):
        read_wmdp("wmdp-bio", path)
    with pytest.raises(UserError, match="WMDP has no part 'wmdp-math'; it has: wmdp-bio"):
        read_wmdp("wmdp-math", path)
    with pytest.raises(UserError, match="cannot open 'anatomy' of dataset"):
        read_mmlu("anatomy", path)
