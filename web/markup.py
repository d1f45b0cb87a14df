"""Contexts as HTML: highlighted tokens, escaped. The only place where corpus text becomes markup.

Silent tokens become plain text, so that a context of 256 tokens costs a few spans and not 256.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from web.formats import number, signed
from web.tokens import OPACITY_LEVELS, Piece, Unit, level, readable

if TYPE_CHECKING:
    from web.views.examples import Shown


def piece_html(piece: Piece) -> str:
    """One stretch of text; newline, tab and glyphs are drawn by the stylesheet, so that copying gives the source."""
    match piece.kind:
        case "newline":
            return '<span class="nl">\n</span>'
        case "tab":
            return '<span class="tab">\t</span>'
        case "glyph":
            return f'<span class="glyph" data-glyph="{escape(piece.text)}"></span>'
    return str(escape(piece.text))


@lru_cache(maxsize=1 << 16)
def pieces_html(pieces: tuple[Piece, ...]) -> str:
    """The pieces of one unit; a page shows the same again and again."""
    return "".join(map(piece_html, pieces))


def units_html(units: Iterable[Unit], maximum: float, peak: int | None = None) -> Markup:
    """Units in a row; `maximum` (the feature's own) sets the scale, the unit that holds token `peak` is outlined."""
    out: list[str] = []
    for unit in units:
        text = pieces_html(unit.pieces)
        shade = level(unit.activation, maximum)
        outlined = " peak" if peak is not None and unit.start <= peak < unit.stop else ""
        if shade is None:
            out.append(f'<span class="silent peak">{text}</span>' if outlined else text)
            continue
        out.append(f'<span class="t a{shade}{outlined}" data-v="{number(unit.activation)}">{text}</span>')
    return Markup("".join(out))


NEAR = 5
"""Tokens on either side of the peak that stay when only the nearest are shown."""


def context_html(units: Sequence[Unit], maximum: float, peak: int) -> Markup:
    """A keyword-in-context line: before, peak and after, which the stylesheet centres or lets flow."""
    return _line(units, lambda shown, peak: units_html(shown, maximum, peak), peak)


def sources_html(units: Sequence[Unit], values: Sequence[float], peak: int) -> Markup:
    """The same line as `context_html`, coloured by what each unit adds or takes away, in shares of the largest."""
    largest = max(map(abs, values), default=0.0)
    adds = {unit.start: value for unit, value in zip(units, values, strict=True)}

    def part(shown: Sequence[Unit], _peak: int | None) -> Markup:
        out: list[str] = []
        for unit in shown:
            value, text = adds[unit.start], pieces_html(unit.pieces)
            shade = round(abs(value) / largest * (OPACITY_LEVELS - 1)) if largest > 0 else 0
            sign = " negative" if value < 0 else ""
            out.append(f'<span class="t a{shade}{sign}" data-v="{signed(value)}">{text}</span>' if shade else text)
        return Markup("".join(out))

    return _line(units, part, peak)


def example_html(shown: "Shown", maximum: float) -> Markup:
    """An example as a line."""
    return context_html(shown.units, maximum, shown.example.peak)


def example_sources_html(shown: "Shown") -> Markup:
    """Where an example's activation comes from, as a line."""
    return sources_html(shown.units, shown.sources, shown.example.peak)


def _line(units: Sequence[Unit], part: Callable[[Sequence[Unit], int | None], Markup], peak: int) -> Markup:
    """Units in the five pieces that the stylesheet arranges: far before, near before, the peak, near after, far."""
    at = next((i for i, unit in enumerate(units) if unit.start <= peak < unit.stop), 0)
    low, high = max(at - NEAR, 0), at + 1 + NEAR
    far_before, near_before = part(units[:low], None), part(units[low:at], None)
    near_after, far_after = part(units[at + 1 : high], None), part(units[high:], None)
    return Markup(
        f'<span class="before"><span><span class="far">{far_before}</span>{near_before}</span></span>'
        f'<span class="middle">{part(units[at : at + 1], peak)}</span>'
        f'<span class="after">{near_after}<span class="far">{far_after}</span></span>'
    )


@lru_cache(maxsize=1 << 16)
def token_html(text: str | bytes) -> Markup:
    """One token in a list: spaces at its ends shown as a faint ␣, newlines ↵, tabs →."""
    shown = readable(text.encode("utf-8", errors="surrogatepass") if isinstance(text, str) else text)
    body = shown.strip(" ")
    head = len(shown) - len(shown.lstrip(" ")) if body else len(shown)
    tail = len(shown) - head - len(body)
    return Markup("{}{}{}").format(_spaces(head), body, _spaces(tail))


def _spaces(n: int) -> Markup:
    return Markup("<i>{}</i>").format("␣" * n if n <= 3 else f"␣×{n}") if n else Markup("")


def breakable(text: str) -> Markup:
    """An identifier or path that may break after its dots, slashes, dashes and underscores, and nowhere else."""
    return Markup(re.sub(r"([._/\-]+)(?=.)", r"\1<wbr>", str(escape(text))))


def effect_units_html(
    units: Sequence[Unit], maximum: float, peak: Unit | None, shades: Sequence[int | None], negative: Sequence[bool]
) -> Markup:
    """Units in a row, each numbered and with two highlights, between which the stylesheet chooses: the activation's on
    the scale of `maximum`, and another that is given by its level and sign.
    """
    out: list[str] = []
    for i, (unit, shade, below) in enumerate(zip(units, shades, negative, strict=True)):
        own = level(unit.activation, maximum)
        classes = ["u"]
        classes += [] if own is None else ["t", f"a{own}"]
        classes += ["peak"] if unit is peak else []
        classes += [] if shade is None else [f"b{shade}", *(["below"] if below else [])]
        value = "" if own is None else f' data-v="{number(unit.activation)}"'
        text = "".join(map(piece_html, unit.pieces))
        out.append(f'<span class="{" ".join(classes)}" data-i="{i}"{value}>{text}</span>')
    return Markup("".join(out))


def continuation_html(units: Sequence[Unit], about: Sequence[str], n_prompt: int) -> Markup:
    """A prompt (muted) and what follows it, shaded by each unit's activation, which is a share; `about` says on hover
    what each consists of.
    """
    sides: tuple[list[str], list[str]] = ([], [])
    for unit, said in zip(units, about, strict=True):
        shade = level(unit.activation, 1.0)
        text = "".join(map(piece_html, unit.pieces))
        shown = text if shade is None else f'<span class="t a{shade}" title="{escape(said)}">{text}</span>'
        sides[unit.start >= n_prompt].append(shown)
    return Markup(f'<span class="given">{"".join(sides[0])}</span>{"".join(sides[1])}')
