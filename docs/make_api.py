"""Write docs/reference/api.md from the docstrings of `store`: `make docs`.

What `store` exports, as its source has it: signatures and docstrings are read by griffe, nothing is imported.
"""

from collections.abc import Iterator
from pathlib import Path

import griffe

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "reference" / "api.md"
FIRST = ("FeatureStore", "Relation", "Feature", "Example", "Comparison", "Annotations")
"""What a reader looks for first; the rest follows by name."""
MODULES = ("store.compare", "store.interchange")
"""Modules whose own docstring defines words that the reference uses."""


def page() -> str:
    """The whole reference as Markdown."""
    package = griffe.load("store", search_paths=[ROOT])
    names = [name for name in FIRST if name in package.exports]
    names += sorted(name for name in package.exports if name not in FIRST)
    parts = [
        "# Python API of the feature store",
        "Made from the docstrings by `make docs`; do not edit. How to use it: [store.md](store.md).",
        _block(package),
        *(text for name in names for text in _described(package[name])),
        *(f"## `{name}`\n\n{_block(package[name.partition('.')[2]])}" for name in MODULES),
    ]
    return "\n\n".join(parts) + "\n"


def _described(thing: griffe.Object | griffe.Alias) -> Iterator[str]:
    """One export and its public members."""
    thing = thing.final_target if isinstance(thing, griffe.Alias) else thing
    yield f"## {_heading(thing)}" if isinstance(thing, griffe.Function) else f"## `{thing.name}`"
    if thing.docstring:
        yield _block(thing)
    if not isinstance(thing, griffe.Class):
        return
    values = [m for m in thing.members.values() if _public(m) and isinstance(m, griffe.Attribute)]
    fields = [f"- {_field(value)}" for value in sorted(values, key=lambda m: m.lineno or 0)]
    if fields:
        yield "\n".join(fields)
    methods = [m for m in thing.members.values() if _public(m) and isinstance(m, griffe.Function)]
    for method in sorted(methods, key=lambda m: m.lineno or 0):
        yield f"### {_heading(method)}"
        if method.docstring:
            yield _block(method)


def _public(member: griffe.Object | griffe.Alias) -> bool:
    return not member.name.startswith("_") or (member.name == "__init__" and member.docstring is not None)


def _field(value: griffe.Attribute) -> str:
    annotation = f": {value.annotation}" if value.annotation else ""
    said = f" – {' '.join(value.docstring.value.split())}" if value.docstring else ""
    return f"`{value.name}{annotation}`{said}"


def _heading(function: griffe.Function) -> str:
    """Its name and parameters as they are written, `self` left out."""
    parts, named = [], False
    for parameter in function.parameters:
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is griffe.ParameterKind.keyword_only and not named:
            parts.append("*")
            named = True
        star = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}.get(
            parameter.kind, ""
        )
        annotation = f": {parameter.annotation}" if parameter.annotation else ""
        default = f" = {parameter.default}" if parameter.default is not None and not star else ""
        parts.append(f"{star}{parameter.name}{annotation}{default}")
    returned = f" → {function.returns}" if function.returns else ""
    return f"`{function.name}({', '.join(parts)}){returned}`"


def _block(thing: griffe.Object) -> str:
    """A docstring as it is written: its columns of names and shapes line up."""
    assert thing.docstring is not None
    return f"```text\n{thing.docstring.value}\n```"


if __name__ == "__main__":
    OUT.write_text(page(), encoding="utf-8")
