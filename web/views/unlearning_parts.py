"""Parts of the pages on unlearning: treatments and their strengths in words, intervals, texts."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from saebench.wording import SET, named
from web.figures.unlearning import MARKS, series_name
from web.formats import number, percent
from web.markup import continuation_html, units_html
from web.tokens import units

if TYPE_CHECKING:
    from saebench.interventions.choosing import Excerpt
    from saebench.interventions.scores.bootstrap import Estimate
    from saebench.interventions.scores.side_effects import Flip

TAIL = 72
"""Characters of a question that a row shows: its end, behind which the answer stands."""


class Key(NamedTuple):
    """What stands for a treatment or baseline in figures and tables."""

    name: str
    label: str
    does: str
    mark: str


class Turned(NamedTuple):
    """A question that turned: its end, all of it, the right answer and what the model says now."""

    flip: "Flip"
    end: Markup
    whole: Markup


def excerpt_html(one: "Excerpt") -> Markup:
    """A stretch of text, shaded by the activations in shares of its own largest."""
    merged = units([token.encode() for token in one.tokens], list(one.activations))
    return units_html(merged, max(one.activations, default=0.0), one.peak)


def turned_row(flip: "Flip") -> Turned:
    """A question that turned; its end begins where a line or at least a word does."""
    end = flip.asks[-TAIL:]
    if len(end) < len(flip.asks):
        end = "…" + re.sub(r"^\S*\s?", "", end)
    return Turned(flip, *(units_html(units([text.encode()], [0.0]), 1.0) for text in (end, flip.asks)))


def legend(names: Iterable[str]) -> list[Key]:
    """Of each colour of the figures one entry."""
    found = {key.name: key for key in keys(names)}
    return [key._replace(label="saved sets") if key.name == SET else key for key in found.values()]


def keys(names: Iterable[str]) -> list[Key]:
    """What stands for treatments and baselines in figures and tables."""
    return [Key(series_name(name), *named(name), MARKS[series_name(name)][1]) for name in names]


def interval(estimate: "Estimate", *, share: bool = True) -> str:
    """An estimate's interval; nothing where none can be said."""
    if estimate.low is None or estimate.high is None:
        return ""
    shown = percent if share else number_signed
    return f"{shown(estimate.low)} to {shown(estimate.high)}"


def number_signed(value: float) -> str:
    """Three significant digits, a true minus."""
    return number(value).replace("-", "−", 1) if value < 0 else number(value)


def moved_html(tokens: Sequence[str], moved: Sequence[float], largest: float) -> Markup:
    """Tokens shaded by how much each was changed, in shares of the largest."""
    merged = units([token.encode() for token in tokens], list(moved))
    shares = [unit._replace(activation=unit.activation / largest if largest else 0.0) for unit in merged]
    said = [f"changed by {percent(unit.activation)} of its size" for unit in merged]
    return continuation_html(shares, said, 0)


def flat(values: dict[str, Any], stem: str = "") -> list[tuple[str, str]]:
    """Nested data as pairs of dotted names and texts."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += flat(value, f"{stem}{name}.")
        elif not isinstance(value, list):
            rows.append((f"{stem}{name}", str(value)))
    return [row for row in rows if not row[0].startswith("settings.")]
