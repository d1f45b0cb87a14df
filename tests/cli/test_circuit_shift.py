"""`saebench circuit shift`: one run from sheet to table on a tiny model, and command lines that cannot work."""

from pathlib import Path

import pytest
import yaml
from command_line import run_line

from saebench.circuits.sets import keep_set
from saebench.circuits.shift import Example, ShiftData, write_data
from saebench.circuits.shift.examples import GROUPS
from saebench.circuits.shift.result import read_shift
from saebench.lm import LanguageModel
from saebench.saes import SAE, TopK

POINT = "blocks.1.hook_resid_post"


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


def add_set(workspace: Path, lm: LanguageModel, model: str) -> None:
    """A set of one SAE in a workspace; `model` is what its model is opened by."""
    folder = workspace / "saes" / "tiny-sae"
    SAE.create(32, 48, TopK(k=6)).save(folder)
    (folder / "config.yaml").write_text(yaml.safe_dump({"provenance": {"model": lm.provenance, "hook_point": POINT}}))
    keep_set(workspace, "tiny", lm.provenance | {"name": model}, {POINT: "tiny-sae"})


@pytest.mark.parametrize(
    ("data", "probe_at", "options", "message"),
    [
        ("topic-slef", POINT, ["--auto"], "there is no data 'topic-slef'; give a JSONL file, or one of: topic-form"),
        ("none.jsonl", POINT, ["--auto"], "cannot read data none.jsonl: No such file or directory"),
        ("topic-form", POINT, ["--auto", "--saes", "nope"], "has no SAE set 'nope'; it has: tiny"),
        ("topic-form", "blocks.1.hook_resid_pst", ["--auto"], "circuits cannot use the site 'blocks.1.hook_resid_pst'"),
        ("topic-form", "blocks.0.hook_mlp_out", ["--auto"], "no SAE of the set 'tiny' is at or before"),
        ("topic-form", POINT, ["--list", "nope"], "has no feature list 'nope'; it has: none"),
        ("topic-form", POINT, ["--features", "no.csv"], "cannot read features no.csv: No such file or directory"),
        ("topic-form", POINT, ["--auto", "--id", "a/b"], "'a/b' cannot be an id"),
        ("topic-form", POINT, ["--auto"], "has no config.json"),
    ],
)
def test_what_is_refused_without_opening_the_model(
    run, tmp_path: Path, tiny_lm: LanguageModel, data: str, probe_at: str, options: list[str], message: str
):
    (tmp_path / "nothing").mkdir()
    add_set(tmp_path, tiny_lm, str(tmp_path / "nothing"))
    code, _, error = run(data, "--probe-at", probe_at, *options)
    assert (code, len(error.splitlines())) == (1, 1)
    assert message in error


def test_from_sheet_to_table(run, tmp_path: Path, tiny_lm: LanguageModel, tiny_folder: Path):
    point = POINT
    add_set(tmp_path, tiny_lm, str(tiny_folder))
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
