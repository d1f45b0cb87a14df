"""The API reference says what the docstrings say."""

import re
import runpy
from pathlib import Path

import store

ROOT = Path(__file__).parent.parent.parent


def test_the_reference_is_up_to_date():
    made = runpy.run_path(str(ROOT / "docs" / "make_api.py"))["page"]()
    assert (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8") == made, "run `make docs`"


def test_everything_exported_is_in_it():
    text = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    for name in store.__all__:
        assert f"## `{name}" in text
    for method in ("search", "compare", "strongest", "to_parquet", "explanations", "set_label"):
        assert f"### `{method}(" in text


def test_the_questions_are_answered_by_the_code_that_is_there():
    cells = runpy.run_path(str(ROOT / "docs" / "make_questions.py"))["cells"]
    code = [
        part for kind, part in cells((ROOT / "docs" / "questions.py").read_text(encoding="utf-8")) if kind == "code"
    ]
    page = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
    shown = re.findall(r"```python\n(.*?)\n```", page, re.DOTALL)
    assert shown == code, "run `python docs/make_questions.py WORKSPACE`"
    assert sum(line.startswith("## ") for line in page.splitlines()) == 10
