"""A recipe with overrides: what is left out stays what it is without them; and all of it, as it is printed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from command_line import run_line
from pydantic import BaseModel

from saebench.cli.recipe import Recipe, read_recipe


def sections(section: BaseModel, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where the keys of every section within a section are."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from sections(value, (*path, name))
        elif path:
            yield (*path, name)


@pytest.mark.parametrize("path", sections(Recipe()), ids=".".join)
def test_one_override_changes_one_value(path: tuple[str, ...]):
    """Given what it is already, any key leaves the recipe as it was."""
    value = Recipe().model_dump(mode="json")
    for name in path:
        value = value[name]
    assert read_recipe(None, [f"{'.'.join(path)}={yaml.safe_dump(value)}"]) == Recipe()


def test_another_corpus_is_read_whole():
    assert read_recipe(None, ["corpus.seed=5"]).corpus.max_tokens == Recipe().corpus.max_tokens
    assert read_recipe(None, ["corpus.name=texts"]).corpus.max_tokens is None


def test_what_is_printed_is_the_recipe(monkeypatch, capsys, tmp_path: Path):
    code, out, error = run_line(monkeypatch, capsys, "recipe")
    assert (code, error) == (0, "")
    (tmp_path / "printed.yaml").write_text(out)
    assert read_recipe(tmp_path / "printed.yaml", []) == Recipe()


def test_a_bound_does_not_change_which_text_is_held_out():
    recipe = read_recipe(None, ["evaluate.corpus.max_tokens=100", "index.corpus.seed=5", "corpus.max_tokens=3"])
    assert [part.corpus.name for part in (recipe.evaluate, recipe.index)] == ["stdlib-heldout"] * 2
    assert recipe.corpus.name == "stdlib-train"
    named = read_recipe(None, ["evaluate.corpus.name=stdlib-train"])
    assert named.evaluate.corpus.name == "stdlib-train"
