"""A recipe with overrides: what is left out stays what it is without them."""

from saebench.cli.recipe import read_recipe


def test_a_bound_does_not_change_which_text_is_held_out():
    recipe = read_recipe(None, ["evaluate.corpus.max_tokens=100", "index.corpus.seed=5", "corpus.max_tokens=3"])
    assert [part.corpus.name for part in (recipe.evaluate, recipe.index)] == ["stdlib-heldout"] * 2
    assert recipe.corpus.name == "stdlib-train"
    named = read_recipe(None, ["evaluate.corpus.name=stdlib-train"])
    assert named.evaluate.corpus.name == "stdlib-train"
