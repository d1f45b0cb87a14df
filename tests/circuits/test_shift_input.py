"""What SHIFT is given: data, features of lists and files, and what of these cannot work."""

import json
import re
from pathlib import Path

import pytest

from saebench.circuits.shift import Example, ShiftData, choose, read_data, write_data
from saebench.circuits.shift.choose import Known
from saebench.circuits.shift.examples import GROUPS, checked
from saebench.circuits.shift.files import data_of
from saebench.circuits.shift.pieces import CHARACTERS, cut, separated
from saebench.circuits.shift.result import read_shift, shift_path
from saebench.circuits.shift.run import Shift
from saebench.circuits.shift.topic_self import topic_self
from saebench.errors import UserError
from saebench.lm import LanguageModel
from saebench.saes import SAE, TopK
from store import Annotations

KNOWN = Known(
    "mine", {"one": "blocks.0.hook_mlp_out", "late": "blocks.3.hook_mlp_out"}, {"blocks.0.hook_mlp_out": 8}, "p"
)


def data(**more: int) -> ShiftData:
    rows = [
        Example(split=split, text=f"{split} {label} {confound} {i}", label=label, confound=confound)  # type: ignore[arg-type]
        for split in ("train", "test")
        for label, confound in GROUPS
        for i in range(2 + more.get(f"{split}{label}{confound}", 0))
    ]
    return ShiftData(name="mine", labels=("a", "b"), confounds=("c", "d"), examples=tuple(rows))


def test_data_comes_back_as_it_was_written(tmp_path: Path):
    path = tmp_path / "deep" / "mine.jsonl"
    write_data(path, data())
    assert read_data(path) == data()
    assert read_data(path).sha256 == data().sha256
    assert json.loads(path.read_text().splitlines()[0])["labels"] == ["a", "b"]


def test_training_data_is_ambiguous_and_the_rest_balanced():
    mine = data(train00=5, train01=3, test11=4)
    assert len(mine.ambiguous()) == 7 + 2
    assert all(e.split == "train" and e.label == e.confound for e in mine.ambiguous())
    for split in ("train", "test"):
        drawn = mine.balanced(split)  # type: ignore[arg-type]
        assert [sum((e.label, e.confound) == group for e in drawn) for group in GROUPS] == [2, 2, 2, 2]
        assert {e.split for e in drawn} == {split}
    assert mine.balanced("train", 0) == mine.balanced("train", 0)


HEAD = '{"shift": "mine"}\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "data needs a line about itself and at least one example"),
        (HEAD, "data needs a line about itself and at least one example"),
        ("[]\n", r"line 1: not a JSON object like \{\"shift\""),
        ('{"shift": "my data"}\n', "line 1: name: String should match"),
        (HEAD + "{\n", r"line 2: not JSON \(.*\); it should look like \{\"split\""),
        (HEAD + '{"split": "train", "text": "x", "label": 1}\n', "line 2: the key 'confound' is missing"),
        (
            HEAD + '{"split": "train", "text": "x", "label": 2, "confound": 0}\n',
            "line 2: label: Input should be 0 or 1",
        ),
        (HEAD + '{"split": "train", "text": "", "label": 1, "confound": 0}\n', "line 2: text: String should have"),
        (
            HEAD + '{"split": "train", "text": "x", "label": 0, "confound": 0}\n',
            "no train example has label 0 .* and con",
        ),
    ],
)
def test_lines_that_are_no_data(tmp_path: Path, text: str, message: str):
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_data(path)
    assert "\n" not in str(error.value)


def test_data_by_name(tmp_path: Path):
    with pytest.raises(UserError, match=r"cannot read data missing\.jsonl: No such file or directory$"):
        data_of(tmp_path, "missing.jsonl")
    with pytest.raises(UserError, match=r"there is no data 'other'; give .* one of: topic-form, topic-self"):
        data_of(tmp_path, "other")
    write_data(tmp_path / "shifts" / "data" / "other.jsonl", data())
    assert data_of(tmp_path, "other") == data()


def test_a_class_without_examples_is_refused():
    half = ShiftData(name="x", examples=tuple(e for e in data().examples if e.label == 0))
    with pytest.raises(UserError, match="no train example has label 1"):
        checked(half, "data 'x'")


def test_features_of_a_list(tmp_path: Path):
    lists = Annotations(tmp_path)
    with pytest.raises(UserError, match="has no feature list 'form'; it has: none"):
        choose.from_list(tmp_path, "form", KNOWN)
    lists.describe_list("form", "prose or code", "me")
    with pytest.raises(UserError, match="list 'form' is empty"):
        choose.from_list(tmp_path, "form", KNOWN)
    lists.add_to_list("form", "one", 3, "me")
    assert choose.from_list(tmp_path, "form", KNOWN) == [("blocks.0.hook_mlp_out", 3)]
    lists.add_to_list("form", "another", 3, "me")
    with pytest.raises(UserError, match="list 'form': SAE 'another' is not in the set 'mine'; it has: one, late"):
        choose.from_list(tmp_path, "form", KNOWN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column feature or sae, or no rows"),
        ("sae,number\none,1\n", "no column feature"),
        ("sae,feature\none,x\n", "row 2: 'x' is not the number of a feature"),
        ("sae,feature\none,8\n", "row 2: one has no feature 8; they go from 0 to 7"),
        ("sae,feature\nlate,1\n", "row 2: blocks.3.hook_mlp_out comes after the probe at p"),
        ("sae,feature\nother,1\n", "row 2: SAE 'other' is not in the set"),
        ("irrelevant,sae,feature\n,one,1\nno,one,2\n", "no feature is marked; write x in the column 'irrelevant'"),
    ],
)
def test_files_that_choose_nothing(tmp_path: Path, text: str, message: str):
    path = tmp_path / "features.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        choose.from_file(path, KNOWN)
    assert "\n" not in str(error.value)


def test_files_choose_what_is_marked_or_all(tmp_path: Path):
    path = tmp_path / "features.csv"
    path.write_text("sae,feature\none,1\none,2\n")
    assert choose.from_file(path, KNOWN) == [("blocks.0.hook_mlp_out", 1), ("blocks.0.hook_mlp_out", 2)]
    path.write_text("irrelevant,sae,feature\nX,one,1\n,one,2\nyes,one,4\n")
    assert choose.from_file(path, KNOWN) == [("blocks.0.hook_mlp_out", 1), ("blocks.0.hook_mlp_out", 4)]


def test_probes_without_a_feature_before_them(tiny_lm: LanguageModel):
    name = "blocks.2.hook_mlp_out"
    saes = {name: SAE.create(32, 8, TopK(k=2))}
    with pytest.raises(UserError, match=r"no SAE of the set 'mine' is at or before blocks.0.hook_resid_post"):
        Shift(tiny_lm, data(), saes, {name: "late"}, "blocks.0.hook_resid_post", set_id="mine")
    with pytest.raises(UserError, match=r"no hook point 'blocks.9.hook_resid_post'"):
        Shift(tiny_lm, data(), saes, {name: "late"}, "blocks.9.hook_resid_post", set_id="mine")


def test_results_that_are_not_there(tmp_path: Path):
    with pytest.raises(UserError, match="has no shift 'x'; it has: none"):
        read_shift(tmp_path, "x")
    path = shift_path(tmp_path, "x")
    path.parent.mkdir()
    path.write_text("{}")
    with pytest.raises(UserError, match="is no result of shift"):
        read_shift(tmp_path, "x")


SOURCE = '''"""Talk to a server."""
import socket  # behind code

# A block
# of two lines.
def f(x):
    """Send x."""
    return "# no comment"  # behind code
'''


def test_code_and_prose_are_told_apart():
    code, prose = separated(SOURCE)
    assert code == 'import socket\ndef f(x):\n    return "# no comment"'
    assert prose == ["Talk to a server.", "Send x.", "A block\nof two lines."]
    assert separated("print 'old'") == ("", [])


def test_pieces_are_whole_lines_of_about_one_length():
    lines = [f"one more line of prose, number {i} in words" for i in range(40)]
    pieces = list(cut("\n".join(lines)))
    assert all(100 <= len(piece) <= CHARACTERS + 10 for piece in pieces)
    assert "\n".join(pieces).splitlines() == lines[: sum(p.count("\n") + 1 for p in pieces)]
    assert list(cut("=" * 200)) == []


def test_the_confound_of_topic_self_is_in_the_text():
    made = topic_self(train=20, test=10)
    assert len(made.examples) == 4 * 30
    for example in made.examples:
        assert example.text.count("self") >= 3 if example.confound else not re.search(r"\bself\b", example.text)
