"""Pieces of the standard library, by what their modules are about: Python itself, or networks and mail.

Training examples are from modules that the demo model has read, test examples from modules that neither it nor any SAE
has seen; no module is in both.
"""

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Callable, Iterator

import numpy as np

from saebench.circuits.shift.examples import GROUPS, Example, ShiftData
from saebench.config import CorpusConfig
from saebench.corpus.documents import read_documents

_PYTHON = """
ast dis inspect tokenize symtable opcode pyclbr lib2to3 doctest pydoc traceback linecache trace pdb bdb code codeop
rlcompleter compileall py_compile modulefinder pkgutil runpy zipimport site tabnanny typing types abc enum functools
contextlib collections _collections_abc copyreg pickle pickletools _pyio importlib dataclasses tracemalloc weakref
"""
_NETWORK = """
http urllib xmlrpc imaplib smtplib nntplib ftplib poplib telnetlib socket socketserver selectors smtpd wsgiref asyncore
asynchat cgi webbrowser ipaddress netrc asyncio email ssl mailbox
"""
FAMILIES = (frozenset(_PYTHON.split()), frozenset(_NETWORK.split()))
"""Top-level modules about Python itself (label 0) and about networks (label 1)."""
CHARACTERS = 240
"""Length of an example: about 70 tokens of the demo model."""
LEAST = 100
PER_MODULE = 60
"""Examples of one side from one module at most, so that a large one does not stand for its family."""
Sides = Callable[[list[str], list[str]], tuple[list[str], list[str]]]
"""(pieces of code, pieces of prose) of a module → its texts without and with the confound."""


def by_topic(
    name: str,
    description: str,
    confounds: tuple[str, str],
    sides: Sides,
    train: int,
    test: int,
    seed: int,
) -> ShiftData:
    """Data whose label is the topic of a module and whose confound is a property of its pieces.

    Args:
        name: of the data.
        description: of the data.
        confounds: names of the two sides.
        sides: (pieces of code, pieces of prose) of a module → its texts of each side.
        train: examples of each combination for training, at most.
        test: examples of each combination for judging, at most.
        seed: of what is drawn.
    """
    draw = np.random.default_rng(seed)
    examples = []
    for split, corpus, size in (("train", "stdlib-train", train), ("test", "stdlib-heldout", test)):
        found = {module: sides(*pieces) for module, pieces in _pieces(corpus).items()}
        for label, confound in GROUPS:
            texts = [
                text
                for module, own in found.items()
                if module in FAMILIES[label]
                for text in _drawn(own[confound], PER_MODULE, draw)
            ]
            chosen = _drawn(texts, size, draw)
            examples += [_example(split, text, label, confound) for text in chosen]
    return ShiftData(
        name=name,
        description=description,
        labels=("python", "network"),
        confounds=confounds,
        examples=tuple(examples),
    )


def _example(split: str, text: str, label: int, confound: int) -> Example:
    return Example.model_validate({"split": split, "text": text, "label": label, "confound": confound})


def _drawn(texts: list[str], n: int, draw: np.random.Generator) -> list[str]:
    return [texts[i] for i in draw.permutation(len(texts))[:n]]


def _pieces(corpus: str) -> dict[str, tuple[list[str], list[str]]]:
    """(code, prose) of every module of a family, in pieces of the length of an example, in the order of the modules."""
    wanted = FAMILIES[0] | FAMILIES[1]
    out: dict[str, tuple[list[str], list[str]]] = {}
    for document in read_documents(CorpusConfig(name=corpus)):
        module = document.name.split("/")[0].removesuffix(".py")
        if module in wanted:
            code, prose = separated(document.text)
            own = out.setdefault(module, ([], []))
            own[0].extend(cut(code))
            for text in prose:
                own[1].extend(cut(text))
    return dict(sorted(out.items()))


def separated(source: str) -> tuple[str, list[str]]:
    """A file's code without comments and docstrings, and these: each docstring, each block of comment lines.

    A file that is no Python of today is passed over: ("", []).
    """
    try:
        tree = ast.parse(source)
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (SyntaxError, tokenize.TokenError, ValueError):
        return "", []
    lines = source.splitlines()
    gone: set[int] = set()
    prose = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                first = node.body[0]
                gone.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
                prose.append(text)
    comments = {
        token.start[0]: token.string.lstrip("#").removeprefix(" ")
        for token in tokens
        if token.type == tokenize.COMMENT and token.line.lstrip().startswith("#")
    }
    prose += _blocks(comments)
    for token in tokens:
        if token.type == tokenize.COMMENT:  # behind code on its line
            number, column = token.start
            lines[number - 1] = lines[number - 1][:column].rstrip()
    code = [line for number, line in enumerate(lines, 1) if number not in gone and line.strip()]
    return "\n".join(code), prose


def _blocks(comments: dict[int, str]) -> Iterator[str]:
    """Texts of comments on lines that follow each other."""
    block: list[str] = []
    for number in sorted(comments):
        if block and number - 1 not in comments:
            yield "\n".join(block)
            block = []
        block.append(comments[number])
    if block:
        yield "\n".join(block)


def cut(text: str) -> Iterator[str]:
    """Pieces of whole lines, each of about the length of an example; shorter ends and rulers are left out."""
    piece: list[str] = []
    for line in [*text.splitlines(), None]:
        if line is None or sum(map(len, piece)) + len(line) > CHARACTERS:
            whole = textwrap.dedent("\n".join(piece)).strip()
            if len(whole) >= LEAST and len(re.findall(r"[A-Za-z]{2,}", whole)) >= 10:
                yield whole
            piece = []
        if line is not None:
            piece.append(line)
