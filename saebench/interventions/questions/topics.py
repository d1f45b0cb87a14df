"""Topics of a corpus, and the text of each. A topic is a rule on the names of documents: patterns like `tkinter/*`."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from saebench.config import CorpusConfig
from saebench.corpus import Contexts, Document
from saebench.corpus.contexts import Encoded, pack
from saebench.corpus.documents import read_documents
from saebench.corpus.tokenization import SourceTokenizer
from saebench.errors import UserError
from saebench.lm import LanguageModel

Topics = Mapping[str, Sequence[str]]
"""Patterns of document names, by topic; `*` is any text, `/` included."""


def parse_topic(text: str) -> tuple[str, tuple[str, ...]]:
    """A topic from `NAME=PATTERN,PATTERN…`; a NAME alone is a module: the file NAME.py and all of the folder NAME.

    Raises:
        UserError: no name or an empty pattern.
    """
    name, equals, patterns = text.partition("=")
    found = tuple(patterns.split(",")) if equals else (f"{name}.py", f"{name}/*")
    if not name or not all(found):
        raise UserError(f"topic {text!r} is not NAME or NAME=PATTERN,PATTERN; write for example tkinter=tkinter/*")
    return name, found


def topics_of(document: str, topics: Topics) -> list[str]:
    """The topics that a document belongs to, by its name."""
    return [name for name, patterns in topics.items() if any(fnmatchcase(document, pattern) for pattern in patterns)]


def folders(documents: Iterable[str]) -> str:
    """The folders with most documents, to choose topics from; nothing where no document is in one."""
    found = Counter(name.partition("/")[0] for name in documents if "/" in name)
    return f"; its largest folders: {', '.join(name for name, _ in found.most_common(10))}" if found else ""


def documents_by_topic(config: CorpusConfig, topics: Topics) -> dict[str, list[Document]]:
    """The documents of every topic, in the corpus' order; those of none are under the empty name.

    Raises:
        UserError: a topic without documents, a document of two topics, or a corpus that cannot be read.
    """
    found: dict[str, list[Document]] = {name: [] for name in ("", *topics)}
    for document in read_documents(config):
        own = topics_of(document.name, topics)
        if len(own) > 1:
            raise UserError(f"{document.name} is of topics {own[0]!r} and {own[1]!r}; let their patterns not overlap")
        found[own[0] if own else ""].append(document)
    for name, patterns in topics.items():
        if not found[name]:
            said = f"topic {name!r}: no document of {config.name!r} is called {' or '.join(patterns)}"
            raise UserError(said + folders(one.name for own in found.values() for one in own))
    return found


def contexts_of(
    lm: LanguageModel, documents: Iterable[Document], most: int | None = None, length: int | None = None, size: int = 8
) -> list[Contexts]:
    """Documents packed for a model, in blocks of `size` contexts.

    Args:
        lm: the model.
        documents: in this order.
        most: contexts, at most.
        length: tokens of one context; by default all that the model reads.
        size: contexts in a block.

    Raises:
        UserError: no text, or contexts longer than the model reads.
    """
    length = length or lm.context_length
    if length > lm.context_length:
        raise UserError(f"contexts of {length} tokens are more than the model's {lm.context_length}; lower it")
    source = SourceTokenizer(lm.tokenizer)

    def encoded() -> Iterable[Encoded]:
        for document in documents:
            ((ids, lengths),) = source.encode([document.text])
            yield Encoded(ids, lengths, document.text.encode())

    found = pack(encoded(), length, lm.tokenizer.bos_token_id, lm.tokenizer.eos_token_id)
    contexts = list(itertools.islice(found, most))
    if not contexts:
        raise UserError("there is no text to measure on; choose documents that have some")
    return [Contexts.stack(contexts[start : start + size]) for start in range(0, len(contexts), size)]
