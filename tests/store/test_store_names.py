import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import FeatureStore
from store.names import NAMES, SHORT, full_names

_EITHER_CASE = st.sampled_from([str.lower, str.upper])
_SHORT = st.builds(lambda name, case: (case(name), SHORT[name]), st.sampled_from(sorted(SHORT)), _EITHER_CASE)
_AS_IT_IS = st.one_of(
    st.sampled_from([name.column for name in NAMES]),
    st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3})?(e-?[0-9])?", fullmatch=True),
    st.sampled_from(sorted(SHORT)).map(lambda name: f"'{name} it''s {name}'"),
    st.sampled_from(sorted(SHORT)).map(lambda name: f'"{name}"'),
    st.sampled_from(sorted(SHORT)).map(lambda name: f"/* {name} */"),
    st.sampled_from(sorted(SHORT)).map(lambda name: f"{name}_é"),
    st.sampled_from(["max(q)", "n (q)", "'日本' ", "x.max", "x . n", "$$max$$"]),
).map(lambda text: (text, text))
_BETWEEN = st.sampled_from([" and ", " > ", "=", " + ", "\n<=\t", " between ", ") or ("])


@given(st.lists(st.tuples(st.one_of(_SHORT, _AS_IT_IS), _BETWEEN), min_size=1, max_size=12))
def test_only_names_of_columns_are_translated(parts: list[tuple[tuple[str, str], str]]):
    typed = "".join(text + sign for (text, _), sign in parts)
    assert full_names(typed) == "".join(text + sign for (_, text), sign in parts)


@given(st.text(max_size=60))
def test_any_text_can_be_read_and_is_translated_once(text: str):
    once = full_names(text)
    assert full_names(once) == once


def test_every_name_is_a_column_and_no_short_name_is_another_column(store: FeatureStore):
    columns = set(store.described().columns)
    assert {name.column for name in NAMES} <= columns
    assert not set(SHORT) & columns
    assert len(SHORT) == sum(name.short is not None for name in NAMES)


@pytest.mark.parametrize(
    ("typed", "full"),
    [
        ("density between 1e-4 and 1e-2 and max > 5", "density between 1e-4 and 1e-2 and max_activation > 5"),
        ("docs desc, n", "documents_share desc, n_active"),
        ("token = 'max'", "top_token = 'max'"),
    ],
)
def test_sentences_mean_the_same_by_short_and_full_names(store: FeatureStore, typed: str, full: str):
    assert full_names(typed) == full
    if not re.search("desc", full):
        store.described().filter(full)
