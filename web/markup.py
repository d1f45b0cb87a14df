"""Contexts as HTML: highlighted tokens, escaped. The only place where corpus text becomes markup.

Silent tokens become plain text, so that a context of 256 tokens costs a few spans and not 256.
"""

import re
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from web.formats import number, signed
from web.tokens import OPACITY_LEVELS, Piece, Unit, level, readable


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


def units_html(units: Iterable[Unit], maximum: float, peak: int | None = None) -> Markup:
    """Units in a row; `maximum` (the feature's own) sets the scale, the unit that holds token `peak` is outlined."""
    out: list[str] = []
    for unit in units:
        text = "".join(map(piece_html, unit.pieces))
        shade = level(unit.activation, maximum)
        if shade is None:
            out.append(text)
            continue
        outlined = " peak" if peak is not None and unit.start <= peak < unit.stop else ""
        out.append(f'<span class="t a{shade}{outlined}" data-v="{number(unit.activation)}">{text}</span>')
    return Markup("".join(out))


def context_html(units: Sequence[Unit], maximum: float, peak: int) -> Markup:
    """A keyword-in-context line: before, peak and after, which the stylesheet centres or lets flow."""
    at = next((i for i, unit in enumerate(units) if unit.start <= peak < unit.stop), 0)
    before = units_html(units[:at], maximum)
    middle = units_html(units[at : at + 1], maximum, peak)
    after = units_html(units[at + 1 :], maximum)
    return Markup(
        f'<span class="before"><span>{before}</span></span><span class="middle">{middle}</span>'
        f'<span class="after">{after}</span>'
    )


def sources_html(units: Sequence[Unit], values: Sequence[float], peak: int) -> Markup:
    """The same line as `context_html`, coloured by what each unit adds or takes away, in shares of the largest."""
    at = next((i for i, unit in enumerate(units) if unit.start <= peak < unit.stop), 0)
    largest = max(map(abs, values), default=0.0)

    def line(shown: range) -> Markup:
        out: list[str] = []
        for i in shown:
            text = "".join(map(piece_html, units[i].pieces))
            shade = round(abs(values[i]) / largest * (OPACITY_LEVELS - 1)) if largest > 0 else 0
            sign = " negative" if values[i] < 0 else ""
            out.append(f'<span class="t a{shade}{sign}" data-v="{signed(values[i])}">{text}</span>' if shade else text)
        return Markup("".join(out))

    return Markup(
        f'<span class="before"><span>{line(range(at))}</span></span>'
        f'<span class="middle">{line(range(at, min(at + 1, len(units))))}</span>'
        f'<span class="after">{line(range(at + 1, len(units)))}</span>'
    )


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
