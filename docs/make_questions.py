"""Write docs/questions.md: run the cells of docs/questions.py in a workspace and put what each prints below it.

`python docs/make_questions.py FOLDER/workspace`, made as questions.py says. Comments at the left edge are text, what is
between two blocks of them a cell; like a notebook's, a cell that ends with an expression shows its value.
"""

import ast
import contextlib
import io
import itertools
import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

HERE = Path(__file__).resolve().parent
WIDTH = 118


def cells(source: str) -> Iterator[tuple[str, str]]:
    """("text" | "code", its lines) in order."""
    for is_text, lines in itertools.groupby(source.splitlines(), lambda line: line.startswith("#")):
        part = "\n".join(line[2:] if is_text else line for line in lines).strip("\n")
        if part:
            yield "text" if is_text else "code", part


def run(code: str, names: dict[str, Any]) -> str:
    """What a cell prints, and the value of its last line if that is an expression."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), names)
        value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if last else None
        if value is not None:
            print(value.to_string(index=False, max_colwidth=60) if isinstance(value, pd.DataFrame) else repr(value))
    lines = printed.getvalue().rstrip("\n").splitlines()
    wrapped = [textwrap.wrap(line, WIDTH, subsequent_indent="    ") if len(line) > WIDTH else [line] for line in lines]
    return "\n".join(itertools.chain(*wrapped))


def page(workspace: Path) -> str:
    """The whole page as Markdown."""
    names: dict[str, Any] = {}
    os.chdir(workspace.resolve().parent)
    parts = []
    for kind, part in cells((HERE / "questions.py").read_text(encoding="utf-8")):
        parts.append(part if kind == "text" else f"```python\n{part}\n```")
        if kind == "code" and (output := run(part, names)):
            parts.append(f"```text\n{output}\n```")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2 or Path(sys.argv[1]).name != "workspace":  # the cells open it by that name
        sys.exit("usage: python docs/make_questions.py FOLDER/workspace")
    (HERE / "questions.md").write_text(page(Path(sys.argv[1])), encoding="utf-8")
