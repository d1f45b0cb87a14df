"""`saebench unlearn questions` and `known`: files made, and what cannot be made."""

import json
from pathlib import Path

import datasets
import pytest
from command_line import run_line

from saebench.interventions.questions import ask, read_questions
from saebench.lm import load_lm

SOURCE = "import os\n\n\ndef read(path):\n    with open(path) as file:\n        return file.read()\n\n\n" * 12


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def run(*arguments: object) -> tuple[int, str, str]:
        """(exit code, output, error lines) of `saebench unlearn …`."""
        return run_line(monkeypatch, capsys, "unlearn", *arguments)

    return run


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "mine.py").write_text(SOURCE)
    (folder / "other.py").write_text("x = 1\n" * 50)
    return folder


def test_questions_are_made_and_a_file_is_not_replaced_unasked(run, corpus: Path, tmp_path: Path):
    out = tmp_path / "q" / "mine.jsonl"
    make = ("questions", corpus, "--topic", "mine", "--out", out, "--set", "build.copied=true", "--per-topic", 5)
    code, shown, error = run(*make)
    assert (code, error) == (0, "")
    found = read_questions(out)
    assert (found.name, found.topics) == ("mine", {"mine": ("mine.py", "mine/*")})
    assert 1 <= len(found) <= 5
    assert ask(load_lm(), found).right.all()
    assert f"{out}: {len(found)}" in shown
    before = out.read_bytes()
    code, _, error = run(*make)
    assert code == 1
    assert "--replace" in error
    assert run(*make, "--replace")[0] == 0
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--topic", "nothing"], "no document of"),
        (["--topic", "="], "is not NAME or NAME=PATTERN"),
        (["--topic", "a=mine.py", "--topic", "a=other.py"], "two topics have the same name"),
        (["--topic", "mine", "--form", "essay"], "build.form: Input should be"),
        (["--topic", "mine", "--per-topic", "0"], "build.per_topic: Input should be"),
        (["--topic", "mine", "--set", "build.prompt_tokens=999"], "do not fit the model's context"),
    ],
)
def test_what_cannot_be_made_is_one_line_and_writes_nothing(run, corpus: Path, tmp_path: Path, arguments, message):
    out = tmp_path / "out.jsonl"
    code, _, error = run("questions", corpus, "--out", out, *arguments)
    assert code == 1
    assert message in error
    assert len(error.splitlines()) == 1
    assert not out.exists()


def test_known_questions_of_a_file(run, tmp_path: Path):
    given = tmp_path / "given.jsonl"
    rows = [
        {"id": "right", "prompt": "def f(self, x):\n    return self", "answer": "."},
        {"id": "wrong", "prompt": "def f(self, x):\n    return self", "answer": " xyzzy"},
        {"id": "long", "prompt": "word " * 400, "answer": "x"},
    ]
    given.write_text("".join(json.dumps(row) + "\n" for row in ({"questions": "given"}, *rows)))
    out = tmp_path / "known.jsonl"
    code, shown, error = run("known", given, "--out", out)
    assert (code, error) == (0, "")
    assert [question.id for question in read_questions(out).questions] == ["right"]
    assert read_questions(out).name == "known"
    assert "left out  1 that cannot be asked" in shown
    assert "known     1 of 2" in shown


def test_wmdp_of_a_folder(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "wmdp"
    (folder / "wmdp-bio").mkdir(parents=True)
    row = {"question": "import os", "choices": ["None", "xyzzy, 17 of them"], "answer": 0}
    datasets.Dataset.from_list([row, row | {"answer": 7}]).to_parquet(folder / "wmdp-bio" / "test-0.parquet")
    card = "---\nconfigs:\n- config_name: wmdp-bio\n  data_files:\n  - split: test\n    path: wmdp-bio/test-*\n---\n"
    (folder / "README.md").write_text(card)
    out = tmp_path / "bio.jsonl"
    code, shown, _ = run("known", "wmdp-bio", "--dataset", folder, "--style", "continuations", "--out", out)
    assert code == 0
    assert "left out  1 that cannot be asked" in shown
    assert "wmdp-bio#1: no right answer: answer 7" in shown
    (only,) = read_questions(out).questions
    assert (only.id, only.topic) == ("wmdp-bio#0", "biology")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.jsonl", "--out", "x.jsonl"], "cannot read questions nothing.jsonl"),
        (["wmdp", "--out", "x.jsonl"], "is no JSONL file, none of wmdp-bio"),
        (["mmlu:", "--out", "x.jsonl"], "not mmlu:SUBJECT"),
        (["wmdp-bio", "--out", "x.jsonl", "--style", "digits"], "neither letters nor continuations"),
        (["wmdp-bio", "--out", " x.jsonl"], "names no set of questions"),
    ],
)
def test_sources_that_are_none(run, arguments, message, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    code, _, error = run("known", *arguments)
    assert code == 1
    assert message in error
