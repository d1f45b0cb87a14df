"""Packing loses no token and no byte."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from saebench.corpus.contexts import Contexts, Encoded, pack
from saebench.corpus.tokenization import SourceTokenizer, vocabulary


def encoded(lengths: list[int], first: int) -> Encoded:
    ids = np.arange(first, first + len(lengths))
    return Encoded(ids, np.array(lengths, np.int64), bytes(i % 251 for i in range(sum(lengths))))


documents = st.lists(st.lists(st.integers(0, 5), max_size=40), max_size=8).map(
    lambda rows: [encoded(row, 100 * number + 1) for number, row in enumerate(rows)]
)


@given(documents, st.integers(3, 17), st.booleans(), st.booleans())
def test_every_token_is_in_exactly_one_context_with_its_bytes(docs, length, has_bos, has_eos):
    bos, eos = (9000 if has_bos else None), (9001 if has_eos else None)
    contexts = list(pack(docs, length, bos, eos))
    found: dict[int, list[tuple[int, bytes]]] = {number: [] for number in range(len(docs))}
    for context in contexts:
        assert context.tokens.shape == context.special.shape == (1, length)
        assert context.bounds.shape == (1, length + 1)
        if has_bos:
            assert context.tokens[0, 0] == bos
            assert context.special[0, 0]
        starts = [*context.segments[0], (length, None, None)]
        for (first, number, byte), (last, _, _) in itertools.pairwise(starts):
            at = byte
            for i in range(first, last):
                if context.special[0, i]:
                    continue
                piece = context.source[0][context.bounds[0, i] : context.bounds[0, i + 1]]
                assert piece == docs[number].source[at : at + len(piece)]
                at += len(piece)
                found[number].append((int(context.tokens[0, i]), piece))
    for number, document in enumerate(docs):
        assert [token for token, _ in found[number]] == document.ids.tolist()
        assert b"".join(piece for _, piece in found[number]) == document.source[: document.lengths.sum()]


@given(documents, st.integers(3, 17))
def test_end_tokens_stand_between_documents(docs, length):
    contexts = list(pack(docs, length, 9000, 9001))
    if contexts:
        stacked = Contexts.stack(contexts)
        body = stacked.tokens[~stacked.special]
        assert body.tolist() == [token for document in docs for token in document.ids]
        ends = (stacked.tokens == 9001)[:, 1:].sum()
        assert ends >= sum(len(document.ids) > 0 for document in docs) - 1


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_byte_level_tokens_spell_the_text(tiny_lm, text):
    tokenizer = SourceTokenizer(tiny_lm.tokenizer)
    [(ids, lengths)] = tokenizer.encode([text])
    assert lengths.sum() == len(text.encode())
    assert b"".join(tokenizer.vocabulary[i] for i in ids) == text.encode()


def test_vocabulary_agrees_with_the_tokenizers_own_decoder(tiny_lm):
    pieces = vocabulary(tiny_lm.tokenizer)
    for token, piece in enumerate(pieces):
        assert piece.decode(errors="replace") == tiny_lm.tokenizer.decode([token])


def test_offsets_serve_tokenizers_that_do_not_spell_bytes():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "naïve": 1, "雪": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = SourceTokenizer(PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]"))
    text = "naïve  雪 other "
    [(ids, lengths)] = tokenizer.encode([text])
    assert ids.tolist() == [1, 2, 0]
    ends = np.cumsum(lengths)
    assert text.encode()[: ends[0]].decode() == "naïve"
    assert text.encode()[ends[0] : ends[1]].decode() == "  雪"
    assert ends[-1] == len(text.encode())
