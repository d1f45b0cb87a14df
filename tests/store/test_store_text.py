import re

from hypothesis import given
from hypothesis import strategies as st

from store.text import display_pieces, readable


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted(place % (len(data) + 1) for place in places)
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


@given(st.text(), st.lists(st.integers(0, 10_000)))
def test_text_cut_anywhere_is_whole_again(text: str, places: list[int]):
    pieces = display_pieces(cut(text.encode("utf-8", "ignore"), places))
    assert len(pieces) == len(places) + 1
    assert "".join(pieces) == text.encode("utf-8", "ignore").decode()


@given(st.binary(), st.lists(st.integers(0, 10_000)))
def test_no_byte_is_lost(data: bytes, places: list[int]):
    shown = "".join(display_pieces(cut(data, places)))
    back = b"".join(
        bytes([int(stray, 16)]) if stray else other.encode() for stray, other in re.findall("⟨0x(..)⟩|([^⟨])", shown)
    )
    assert back == data


@given(st.lists(st.binary(max_size=3)))
def test_tokens_with_whole_characters_keep_them(pieces: list[bytes]):
    for piece, shown in zip(pieces, display_pieces(pieces), strict=True):
        if piece.isascii() and all(other.isascii() for other in pieces):
            assert shown == piece.decode()


def test_a_split_character_stands_where_it_is_completed():
    a, b, c = (bytes([byte]) for byte in "→".encode())
    assert display_pieces([b"x", a, b, c + b"y", b"z"]) == ["x", "", "", "→y", "z"]


def test_stray_bytes_stay_in_their_token():
    assert display_pieces([b"a\xe2", b"b", b"\xff"]) == ["a⟨0xE2⟩", "b", "⟨0xFF⟩"]
    assert readable(b" def") == " def"
