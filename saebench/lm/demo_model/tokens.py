"""Byte-level BPE and the packed contexts of the demo model."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from jaxtyping import UInt16
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from saebench.lm.demo_model.sources import Source

END = "<|endoftext|>"


def train_tokenizer(sources: Iterable[Source], vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE (GPT-2's pre-tokenisation) with `END` as its only special token, id 0."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((source.text for source in sources), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, unk_token=END, clean_up_tokenization_spaces=False
    )


def encode_sources(tokenizer: PreTrainedTokenizerFast, sources: Iterable[Source]) -> list[UInt16[np.ndarray, " n"]]:
    """Each source's token ids, closed by `END`."""
    end = tokenizer.eos_token_id
    batch = tokenizer.backend_tokenizer.encode_batch_fast([s.text for s in sources], add_special_tokens=False)
    return [np.array([*encoding.ids, end], np.uint16) for encoding in batch]


def pack(
    documents: list[UInt16[np.ndarray, " n"]],
    repeats: list[int],
    *,
    length: int,
    bos: int,
    vocab_size: int,
    repeated_spans: list[tuple[int, float]],
    seed: int,
) -> UInt16[np.ndarray, "contexts length"]:
    """Shuffle documents (each `repeats` times), cut the stream into contexts opened by `bos`, shuffle those.

    From each (context number, share) of `repeated_spans` on, that share of the contexts is replaced by one span
    of uniformly random tokens, 8 to length/2 long, repeated to the end: induction heads form within tens of
    millions of tokens only where copying pays often enough.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(np.repeat(np.arange(len(documents)), repeats))
    stream = np.concatenate([documents[i] for i in order])
    body = length - 1
    stream = stream[: len(stream) // body * body].reshape(-1, body)
    contexts = np.full((len(stream), length), bos, np.uint16)
    contexts[:, 1:] = stream[rng.permutation(len(stream))]
    starts, shares = zip(*repeated_spans, strict=True)
    share = np.array(shares)[np.searchsorted(starts, np.arange(len(contexts)), side="right") - 1]
    for row in np.flatnonzero(rng.random(len(contexts)) < share):
        span = rng.integers(1, vocab_size, rng.integers(8, length // 2 + 1))
        contexts[row, 1:] = np.resize(span, body)
    return contexts


def cached_contexts(path: Path, build: Callable[[], np.ndarray]) -> UInt16[np.ndarray, "contexts length"]:
    """The packed contexts at `path`, built once."""
    if not path.exists():
        np.save(path.with_suffix(".tmp.npy"), build())
        path.with_suffix(".tmp.npy").replace(path)
    return np.load(path, mmap_mode="r")
