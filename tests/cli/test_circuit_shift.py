"""`saebench circuit shift`: one run from sheet to table on a tiny model, and command lines that cannot work."""

from pathlib import Path

import pytest
from command_line import run_line

from saebench.circuits.shift import Example, ShiftData, write_data
from saebench.circuits.shift.examples import GROUPS
from saebench.circuits.shift.result import read_shift


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    def run(*arguments: object) -> tuple[int, str, str]:
        """(exit code, output, error lines) of `saebench circuit shift …`."""
        return run_line(monkeypatch, capsys, "circuit", "shift", *arguments, "--workspace", str(tmp_path))

    return run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "choose features by one of --list, --features and --auto, or rank them first with --ranked-out"),
        (("--auto", "--list", "form"), "choose features by one of --list, --features and --auto"),
        (("--auto", "--method", "exact"), "there is no method 'exact'; there are: attrib, ig"),
        (("--auto",), "has no SAE set"),
    ],
)
def test_command_lines_that_cannot_work(run, options: tuple[str, ...], message: str):
    code, _, error = run("topic-form", "--probe-at", "blocks.1.hook_resid_post", *options)
    assert code != 0
    assert message in error
    assert len(error.splitlines()) == 1


def test_from_sheet_to_table(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_lm, tiny_folder: Path):
    from saebench.circuits import sets_open
    from saebench.circuits.sets import keep_set
    from saebench.saes import SAE, TopK

    point = "blocks.1.hook_resid_post"
    keep_set(tmp_path, "tiny", tiny_lm.provenance, {point: "tiny-sae"})
    opened = sets_open.OpenedSet(tiny_lm, {point: SAE.create(32, 48, TopK(k=6)).eval()}, {point: "0" * 64})
    monkeypatch.setattr("saebench.cli.circuit.shift.open_set", lambda *_: opened)
    texts = {(0, 0): "x = [1, {}]", (0, 1): "def f{}(x): x", (1, 0): "return {} if x", (1, 1): "import torch{}"}
    examples = tuple(
        Example(split=split, text=texts[group].format(i), label=group[0], confound=group[1])  # type: ignore[arg-type]
        for split in ("train", "test") for group in GROUPS for i in range(6)
    )  # fmt: skip
    path = tmp_path / "mine.jsonl"
    write_data(path, ShiftData(name="mine", examples=examples))
    sheet = tmp_path / "sheet.csv"
    code, out, error = run(path, "--probe-at", point, "--ranked-out", sheet, "--top", 5)
    assert (code, error) == (0, "")
    assert f"ranked    {sheet}" in out
    lines = sheet.read_text().splitlines()
    assert lines[0].startswith("irrelevant,sae,feature,hook_point,effect in 0,effect in 1")
    sheet.write_text("\n".join([lines[0], "x" + lines[1], *lines[2:]]))
    code, out, error = run(path, "--probe-at", point, "--features", sheet, "--top", 5)
    assert (code, error) == (0, "")
    for name in ("nothing", "chosen", "random", "skyline", "oracle"):
        assert name in out
    found = read_shift(tmp_path, "mine.tiny.file-sheet")
    assert [feature.feature for feature in found.chosen] == [int(lines[1].split(",")[2])]
    assert len(found.ranked) == 5
    assert found.provenance["data"]["name"] == "mine"
