"""A feature and its examples as a notebook shows them: text, highlighted where the feature is active.

Decisions:
- As on the web pages: opacity by the logarithm of an activation's share of the feature's own maximum, over two decades;
  a newline reads ↵, a tab →, and what could disturb the page (control and direction marks) is spelled ⟨U+202E⟩.
- A notebook has no stylesheet of ours, so every style stands where it is used; colours are translucent, for light and
  dark notebooks alike.
- What a source token adds is shown by its share of the largest, without a logarithm: sources are compared by how much
  they add. What takes away is blue.
- Everything from a text is escaped.
"""

import math
import unicodedata
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from store.text import display_pieces

if TYPE_CHECKING:
    from store.example import Attribution, Example
    from store.feature import Feature

_DECADES = 2.0
_FAINTEST, _STRONGEST = 0.08, 0.9
_COLOUR, _NEGATIVE = "255, 140, 0", "70, 130, 255"
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_EXAMPLES = 5


def opacity(activation: float, maximum: float) -> float:
    """0 for silence, otherwise .08 to .9 by the logarithm of the share of the maximum, over two decades."""
    if not activation > 0 or not maximum > 0:
        return 0.0
    share = max(1 + math.log10(min(activation / maximum, 1.0)) / _DECADES, 0.0)
    return _FAINTEST + share * (_STRONGEST - _FAINTEST)


def tokens_html(pieces: Sequence[bytes], activations: NDArray[np.float32], maximum: float, peak: int) -> str:
    """Tokens as one line of highlighted text, the one at `peak` underlined; hovering shows the activation.

    A character split over tokens stands in the token that completes it, with the largest activation of them.
    """
    out, held = [], 0.0
    for i, (text, activation) in enumerate(zip(display_pieces(pieces), activations.tolist(), strict=True)):
        held = max(held, activation)
        if not text and i < len(pieces) - 1:
            continue
        style = f"background: rgba({_COLOUR}, {opacity(held, maximum):.2f})" if held > 0 else ""
        style += "; text-decoration: underline" * (i == peak)
        hint = f' title="{held:.3g}"' if held > 0 else ""
        shown = "".join(_shown(character) for character in text)
        out.append(f'<span style="{style.lstrip("; ")}"{hint}>{shown}</span>' if style else shown)
        held = 0.0
    return "".join(out)


def _shown(character: str) -> str:
    if character in "\n\t":
        return '<span style="opacity: .5">' + ("↵" if character == "\n" else "→&emsp;") + "</span>"
    if unicodedata.category(character) in _HIDDEN:
        return f'<span style="opacity: .5">⟨U+{ord(character):04X}⟩</span>'
    return escape(character)


def example_html(example: "Example", maximum: float | None = None) -> str:
    """One example: its activation, its text, where it is from. Without a maximum, its own peak is the strongest."""
    maximum = float(example.value) if maximum is None else maximum
    text = tokens_html(example.pieces, example.activations, maximum, example.peak)
    where = escape(f"{example.document}, byte {example.byte:,}")
    return (
        '<div style="font-family: monospace; margin: .2em 0">'
        f'<span style="opacity: .6">{example.value:.3g}</span>&ensp;'
        f'<span style="white-space: pre-wrap">{text}</span>&ensp;<small style="opacity: .6">{where}</small></div>'
    )


def signed_html(pieces: Sequence[bytes], values: NDArray[np.float32], largest: float, peak: int) -> str:
    """Tokens as one line, coloured by what each adds or takes away, in shares of `largest`; hovering shows the value. A
    character split over tokens stands in the token that completes it, with their sum.
    """
    out, held = [], 0.0
    for i, (text, value) in enumerate(zip(display_pieces(pieces), values.tolist(), strict=True)):
        held += value
        if not text and i < len(pieces) - 1:
            continue
        strength = min(abs(held) / largest, 1.0) * _STRONGEST if largest > 0 else 0.0
        style = f"background: rgba({_COLOUR if held > 0 else _NEGATIVE}, {strength:.2f})" if strength >= 0.01 else ""
        style += "; text-decoration: underline" * (i == peak)
        shown = "".join(_shown(character) for character in text)
        out.append(f'<span style="{style.lstrip("; ")}" title="{held:+.3g}">{shown}</span>' if style else shown)
        held = 0.0
    return "".join(out)


def attribution_html(attribution: "Attribution") -> str:
    """The window of an example up to its peak, coloured by what each token adds; what comes from before; the heads."""
    example, sources = attribution.example, attribution.sources
    shown = slice(example.start, example.position + 1)
    largest = float(np.abs(sources).max())
    text = signed_html(example.pieces[: example.peak + 1], sources[shown], largest, example.peak)
    order = np.argsort(-np.abs(attribution.heads), kind="stable")[:3].tolist()
    said = [f"head {head}: {attribution.heads[head]:+.3g}" for head in order]
    said += [f"before this text: {attribution.before_window:+.3g}"] if example.start else []
    return (
        '<div style="font-family: monospace; margin: .2em 0">'
        f'<span style="opacity: .6">{attribution.total:.3g} from</span>&ensp;'
        f'<span style="white-space: pre-wrap">{text}</span>&ensp;'
        f'<small style="opacity: .6">{" · ".join(said)}</small></div>'
    )


def feature_html(feature: "Feature") -> str:
    """A feature: its statistics, what it promotes and suppresses, and its strongest examples."""
    stats = feature.stats
    facts = [f"density {stats.density:.2e}", f"max {stats.max_activation:.3g}", f"{stats.n_documents:,} documents"]
    if stats.top_token is not None:
        facts.append(f"{stats.top_token_share:.0%} on {_quoted(stats.top_token)}")
    lines = [example_html(example, stats.max_activation) for example in feature.top(_EXAMPLES)]
    for i, attribution in enumerate(feature.attributions(_EXAMPLES)):
        lines[i] += attribution_html(attribution)
    examples = "".join(lines)
    return (
        f"<div><b>feature {feature.feature}</b> of {escape(feature.index.id)}: {' · '.join(facts)}"
        f"<div>promotes {_tokens(stats.promoted)}; suppresses {_tokens(stats.suppressed)}</div>"
        f"{examples or '<div>never active in this corpus</div>'}</div>"
    )


def _tokens(texts: Sequence[str]) -> str:
    return " ".join(map(_quoted, texts[:8])) or "nothing"


def _quoted(text: str) -> str:
    return f'<code style="white-space: pre">{"".join(map(_shown, text))}</code>'
