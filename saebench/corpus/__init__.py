"""Text → documents → contexts of tokens, each token traced to its exact source bytes."""

from saebench.corpus.contexts import Contexts
from saebench.corpus.corpus import Corpus, open_corpus
from saebench.corpus.documents import Document

__all__ = ["Contexts", "Corpus", "Document", "open_corpus"]
