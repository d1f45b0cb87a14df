"""What a notebook shows: parsed back as a browser would, nothing of a text is lost or taken for markup."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import CORPUS, DEAD, NON_ASCII, SAE, WHITESPACE

from store import Annotations, Explanation, FeatureStore
from store.html import opacity, tokens_html


class Page(HTMLParser):
    """Text, tags and attributes of a piece of HTML; fails where tags do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.open, self.tags, self.attributes = "", [], set(), []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.add(tag)
        self.attributes.append(dict(attrs))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@given(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=6), st.data())
def test_any_text_is_shown_whole_and_never_as_markup(words: list[str], draw: st.DataObject):
    """Cut anywhere, also within a character."""
    data = "".join(words).encode("utf-8", errors="replace")
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=5)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    activations = np.array(draw.draw(st.lists(st.sampled_from([0, 1, 4]), min_size=len(pieces), max_size=len(pieces))))
    page = Page(tokens_html(pieces, activations.astype(np.float32), 4, 0))
    assert page.tags <= {"span"}
    assert all(set(attributes) <= {"style", "title"} for attributes in page.attributes)
    shown = re.sub(r"⟨U\+[0-9A-F]+⟩", "", page.text)
    assert [c for c in shown if c.isalnum()] == [c for c in data.decode() if c.isalnum()]
    assert page.text.count("↵") == data.decode().count("\n") + data.decode().count("↵")


def test_markup_in_a_text_is_text():
    page = Page(tokens_html([b"<script>", b"alert('&amp;')", b"</script>\n\t", "\u202e".encode()], np.zeros(4), 1, 2))
    assert page.text == "<script>alert('&amp;')</script>↵→\u2003⟨U+202E⟩"
    assert "script" not in page.tags


def test_split_characters_carry_the_largest_activation():
    snake = "🐍".encode()
    html = tokens_html([snake[:1], snake[1:3], snake[3:], b"x"], np.array([2, 4, 1, 0], np.float32), 4, 2)
    assert html.count("<span") == 1
    assert 'title="4"' in html
    assert Page(html).text == "🐍x"
    assert Page(tokens_html([b"x", snake[:2]], np.zeros(2), 4, 0)).text == "x⟨0xF0⟩⟨0x9F⟩"


def test_opacity_is_logarithmic():
    assert opacity(0, 5) == opacity(1, 0) == 0
    assert opacity(5, 5) == opacity(9, 5) == pytest.approx(0.9)
    assert opacity(0.5, 5) == pytest.approx((0.9 + 0.08) / 2)
    assert opacity(0.0005, 5) == pytest.approx(0.08)


@pytest.mark.parametrize("feature", [0, 3, WHITESPACE, NON_ASCII, DEAD[0]])
def test_a_feature_is_shown_with_its_examples(store: FeatureStore, feature: int):
    one = store.feature(SAE, feature)
    page = Page(one._repr_html_())
    assert f"feature {feature}" in page.text
    assert page.text.count(", byte ") == len(one.top(5))
    assert ("never active" in page.text) == (feature in DEAD)
    for example in one.top(2):
        own = Page(example._repr_html_())
        assert example.document in own.text
        assert sum("background" in (a.get("style") or "") for a in own.attributes) >= 1


def test_a_feature_has_its_label_notes_and_explanations(workspace: Path, tmp_path: Path):
    shutil.copytree(workspace, tmp_path, dirs_exist_ok=True)
    with FeatureStore.open(tmp_path) as store:
        one = store.feature(SAE, 4)
        assert one.label() is None
        assert one.notes() == one.explanations() == []
        store.label(SAE, 4, "four")
        store.note(SAE, 4, "a note", "x")
        explanation = Explanation(SAE, CORPUS, 4, "m", "1", "text", 0.5)
        Annotations(tmp_path).add_explanations([explanation, Explanation(SAE, CORPUS, 5, "m", "1", "other")])
        assert one.label() == "four"
        assert [note.text for note in one.notes()] == ["a note"]
        assert [(e.text, e.score) for e in one.explanations()] == [("text", 0.5)]
