"""`saebench unlearn run` and `list`: what cannot work, in one line."""

import pytest
from command_line import run_line


@pytest.fixture
def unlearn(monkeypatch, capsys, tmp_path):
    return lambda *words: run_line(monkeypatch, capsys, "unlearn", *words, "-w", tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "has no finished SAE; run `saebench train`"),
        (("--sae", "mine"), "has no finished SAE 'mine'; it has: none"),
        (("--forget", "tkinter="), "topic 'tkinter=' is not NAME or NAME=PATTERN,PATTERN"),
        (("--forget", "xml", "--retain", "xml"), "topic 'xml' is both to be forgotten and kept"),
        (("--choose", "guess"), "unlearn.choose.method"),
        (("--choose", "list"), "method list wants the name of a list"),
        (("--choose", "squares:mine"), "method list wants the name of a list"),
        (("--set", "unlearn.treatments=[{kind: clamp, strengths: []}]"), "unlearn.treatments.0.strengths"),
        (("--set", "unlearn.rmu.c=0"), "unlearn.rmu.c"),
    ],
)
def test_runs_that_cannot_work(unlearn, tmp_path, words: tuple[str, ...], message: str):
    code, _, error = unlearn("run", *words)
    assert code == 1
    assert message in error
    assert "\n" not in error
    assert not list(tmp_path.iterdir())


def test_an_empty_workspace_says_how_to_begin(unlearn):
    code, out, _ = unlearn("list")
    assert code == 0
    assert "begin with: saebench unlearn run" in out
