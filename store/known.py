"""What is known of one feature, as values."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Neighbour(NamedTuple):
    """A feature with a similar decoder direction."""

    feature: int
    cosine: float
    """Cosine between the two decoder rows."""


class Head(NamedTuple):
    """An attention head behind a feature."""

    head: int
    share: float
    """Norm of the head's slice of the decoder row, over the sum of these norms."""


class Logit(NamedTuple):
    """What a feature does to one token's logit."""

    token: int
    text: str
    value: float
    """Logit per unit of activation."""


class Logits(NamedTuple):
    """The tokens that a feature raises and lowers most, strongest first."""

    promoted: list[Logit]
    suppressed: list[Logit]


class Histogram(NamedTuple):
    """counts[i] is how many fall between edges[i] and edges[i + 1]; one more edge than counts, or neither."""

    edges: NDArray[np.float32]
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class Stats:
    """A feature's statistics over ordinary tokens of the corpus; those of activations are zero if it is dead.

    Attributes:
        n_active: tokens on which it is active; density: their share of all tokens.
        n_documents, documents_share: documents in which it is active.
        mean: mean activation over active tokens; max_activation: the largest.
        q: quantiles of its activations by share (nearest rank), empty if dead.
        top_token: the token that carries most of its activation (None if dead), top_token_id (-1), top_token_share:
            how much of it.
        promoted, suppressed: texts of the tokens whose logits it raises and lowers most.
        dead: never active; dense: active on more than 10% of tokens; duplicate: another decoder row has a cosine above
            0.9; position_locked: at least half of its (20 or more) active tokens lie at one position in the context;
            bos_only: at least 95% of its active tokens are the first ordinary token of a context.
    """

    feature: int
    n_active: int
    density: float
    n_documents: int
    documents_share: float
    mean: float
    max_activation: float
    q: dict[float, float]
    top_token: str | None
    top_token_id: int
    top_token_share: float
    decoder_norm: float
    encoder_decoder_cosine: float
    promoted: list[str]
    suppressed: list[str]
    dead: bool
    dense: bool
    duplicate: bool
    position_locked: bool
    bos_only: bool


class Partner(NamedTuple):
    """A feature that is active on the same tokens."""

    feature: int
    value: float
    """By the measure asked for: Jaccard index, PMI in bits or Pearson correlation."""
    together: int
    """Tokens on which both are active."""


class InDocument(NamedTuple):
    """A feature in one document."""

    document: str
    n_active: int
    """Tokens of the document on which it is active."""
    total: float
    """Sum of its activations there."""
    largest: float
