from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.formats import number, percent
from web.markup import breakable, token_html, units_html
from web.tokens import OPACITY_LEVELS, level, readable, units


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(p % (len(data) + 1) for p in places)})
    return [data[a:b] for a, b in pairwise(ends)]


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=40), st.lists(st.integers(0, 999)))
def test_cut_text_is_whole_again(text: str, places: list[int]):
    pieces = cut(text.encode(), places)
    found = units(pieces, [0.0] * len(pieces))
    assert "".join(unit.text for unit in found) == text
    assert [unit.start for unit in found] == [0, *(unit.stop for unit in found)][: len(found)]


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=5), st.floats(0, 9)), max_size=20))
def test_units_cover_every_token_once_and_keep_the_largest_activation(tokens: list[tuple[bytes, float]]):
    pieces, activations = [p for p, _ in tokens], [a for _, a in tokens]
    found = units(pieces, activations)
    assert [i for unit in found for i in range(unit.start, unit.stop)] == list(range(len(pieces)))
    for unit in found:
        assert unit.activation == max(activations[unit.start : unit.stop])
        assert not any(0xD800 <= ord(c) <= 0xDFFF for c in unit.text)


def test_a_character_split_over_tokens_is_one_unit():
    e_acute, euro = "é".encode(), "€".encode()
    found = units([b"a", e_acute[:1], e_acute[1:], euro[:1], euro[1:2], euro[2:]], [0, 1, 3, 0, 2, 0])
    assert [(unit.text, unit.activation, unit.start, unit.stop) for unit in found] == [
        ("a", 0, 0, 1),
        ("é", 3, 1, 3),
        ("€", 2, 3, 6),
    ]


def test_what_cannot_be_shown_is_spelled_out():
    assert readable(b"\xe2\x82") == "⟨0xE2⟩⟨0x82⟩"
    assert readable(b"a\n\tb\x00") == "a↵→b⟨U+0000⟩"
    assert readable("\u202e".encode()) == "⟨U+202E⟩"


def test_special_tokens_keep_characters_apart():
    found = units([b"\xc3", b"<|end|>", b"\xa9"], [0, 0, 1], [False, True, False])
    assert [unit.text for unit in found] == ["⟨0xC3⟩", "<|end|>", "⟨0xA9⟩"]


@given(st.binary(max_size=60), st.lists(st.integers(0, 99)))
def test_no_text_becomes_an_element(data: bytes, places: list[int]):
    pieces = cut(b"<script>" + data, places)
    html = units_html(units(pieces, [1.0] * len(pieces)), 1.0, 0)
    bare = html.replace("</span>", "")
    while (at := bare.find("<span class=")) >= 0:
        bare = bare[:at] + bare[bare.index(">", at) + 1 :]
    assert "<" not in bare


def test_silent_tokens_cost_no_element():
    assert units_html(units([b"a", b" b", b"c"], [0, 0, 0]), 1.0) == "a bc"


@pytest.mark.parametrize(("share", "expected"), [(1, OPACITY_LEVELS - 1), (0.1, 8), (0.01, 0), (1e-9, 0), (0, None)])
def test_opacity_is_logarithmic_in_the_share_of_the_maximum(share: float, expected: int | None):
    assert level(7 * share, 7) == expected


def test_spaces_of_tokens_in_lists_are_visible():
    assert token_html(b"  x ") == "<i>␣␣</i>x<i>␣</i>"
    assert token_html(b" " * 12) == "<i>␣×12</i>"
    assert token_html("<b>") == "&lt;b&gt;"
    assert breakable("a.b_<i>") == "a.<wbr>b_<wbr>&lt;i&gt;"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.008123, "0.00812"), (12.345, "12.3"), (4096, "4,096"), (4096.4, "4,096"), (3e-5, "3.0e-5"), (None, "–")],
)
def test_numbers_have_three_significant_digits(value: float | None, text: str):
    assert number(value) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.008, "0.8%"), (0.34, "34%"), (1, "100%"), (0, "0%"), (2.1e-5, "0.0021%")]
)
def test_percentages(share: float, text: str):
    assert percent(share) == text
