"""A corpus: documents, tokenized and packed, in blocks that can be taken up again anywhere."""

import hashlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from saebench.config import CorpusConfig
from saebench.corpus.contexts import Contexts, Encoded, pack
from saebench.corpus.documents import read_documents
from saebench.corpus.tokenization import SourceTokenizer
from saebench.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENIZE_TOGETHER = 64
"""Documents handed to the tokenizer at once."""


@dataclass
class Corpus:
    """Contexts of `length` tokens over the documents of a configuration.

    Attributes:
        documents: (name, bytes, sha256) of the documents read so far, in order; complete once `blocks` is exhausted.
    """

    config: CorpusConfig
    length: int
    tokenizer: SourceTokenizer
    documents: list[tuple[str, int, str]] = field(default_factory=list)

    @property
    def id(self) -> str:
        """A name that says what it is, safe in file names and URLs."""
        path = Path(self.config.name)
        return re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem if path.exists() else self.config.name).strip("-")

    @property
    def max_contexts(self) -> int | None:
        """Contexts after which `max_tokens` ends the corpus, at least one; None where only its text does."""
        return None if self.config.max_tokens is None else max(1, self.config.max_tokens // self.length)

    @property
    def sha256(self) -> str:
        """Hash of the documents read so far (names and contents) and of how they were cut."""
        digest = hashlib.sha256(self.config.model_dump_json().encode())
        digest.update(repr((self.length, self.documents)).encode())
        return digest.hexdigest()

    def blocks(self, size: int, start: int = 0) -> Iterator[Contexts]:
        """Yield blocks of up to `size` contexts from context number `start` on.

        What lies before `start` is tokenized again and dropped: the order never depends on where one began.

        Raises:
            UserError: the corpus has no text.
        """
        tokenizer = self.tokenizer.tokenizer
        contexts = pack(self._encoded(), self.length, tokenizer.bos_token_id, tokenizer.eos_token_id)
        contexts = itertools.islice(contexts, self.max_contexts)
        first = next(contexts, None)
        if first is None:
            raise UserError(f"corpus {self.config.name!r} holds no text; check the path, the split and text_field")
        contexts = itertools.islice(itertools.chain([first], contexts), start, None)
        while block := list(itertools.islice(contexts, size)):
            yield Contexts.stack(block)

    def _encoded(self) -> Iterator[Encoded]:
        self.documents.clear()
        documents = read_documents(self.config)
        while batch := list(itertools.islice(documents, TOKENIZE_TOGETHER)):
            encodings = self.tokenizer.encode([document.text for document in batch])
            for document, (ids, lengths) in zip(batch, encodings, strict=True):
                source = document.text.encode()
                self.documents.append((document.name, len(source), hashlib.sha256(source).hexdigest()))
                yield Encoded(ids, lengths, source)


def open_corpus(config: CorpusConfig, tokenizer: "PreTrainedTokenizerBase", length: int) -> Corpus:
    """A corpus cut for one tokenizer; `length` is the model's context length, which `context_length` may shorten.

    Raises:
        UserError: contexts longer than the model can read.
    """
    if config.context_length is not None and config.context_length > length:
        raise UserError(f"corpus.context_length {config.context_length} is more than the model's {length}; lower it")
    return Corpus(config, config.context_length or length, SourceTokenizer(tokenizer))
