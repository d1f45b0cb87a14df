"""The search field: plain words look through labels and explanations, prefixes through tokens.

    docstring start              every word in the label or in one explanation
    fires:" return"              fires on this token
    promotes:" def"              raises this token's logit most
    suppresses:"\\n"              lowers it most

What stands in double quotes is a token's exact text, with \\n, \\t, \\" and \\\\ for what cannot be typed; without
quotes it ends at the next blank. Several of one kind: one of them is enough; of different kinds: all must hold.
"""

import re

from store import StoreError

KINDS = {"fires": "token", "promotes": "promoted", "suppresses": "suppressed"}
"""What `FeatureStore.search` calls that which a prefix asks for."""

FOUND = {
    "text": ("said", "score", "labelled"),
    "token": ("token_share",),
    "promoted": ("promotes",),
    "suppressed": ("suppresses",),
}
"""Columns of the found that say why, by what was asked for."""

_PART = re.compile(rf'({"|".join(KINDS)}):("(?:[^"\\]|\\.)*"?|\S*)|(\S+)')
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def conditions(search: str) -> dict[str, str | list[str]]:
    """Arguments of `FeatureStore.search`.

    Raises:
        StoreError: a prefix without a token, or quotes that are not closed; quotes the word.
    """
    found: dict[str, str | list[str]] = {}
    words = []
    for prefix, given, word in _PART.findall(search):
        if not prefix:
            words.append(word)
            continue
        tokens = found.setdefault(KINDS[prefix], [])
        assert isinstance(tokens, list)
        tokens.append(_token(prefix, given))
    return {**({"text": " ".join(words)} if words else {}), **found}


def asked(prefix: str, token: str) -> str:
    """What to type to search for a token: the inverse of `conditions`."""
    return f'{prefix}:"{"".join(_ESCAPES.get(character, character) for character in token)}"'


def _token(prefix: str, given: str) -> str:
    if not given.startswith('"'):
        if not given:
            raise StoreError(f"'{prefix}:' needs a token behind it, in quotes where blanks count: {prefix}:\" return\"")
        return given
    closed = re.fullmatch(r'"((?:[^"\\]|\\.)*)"', given, re.DOTALL)
    if not closed or not closed[1]:
        raise StoreError(f"the quotes of '{prefix}:{given}' hold no token or are not closed")
    return re.sub(r"\\(.)", lambda m: _ESCAPED.get(m[1], m[1]), closed[1], flags=re.DOTALL)
