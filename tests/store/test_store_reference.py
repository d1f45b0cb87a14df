"""The API reference says what the docstrings say."""

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
