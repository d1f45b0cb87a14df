"""The corpus examples that a dream is compared with: as long as its prompts, and ending at the feature's peak."""

from dataclasses import dataclass

from store import Feature


@dataclass(frozen=True)
class Window:
    """The tokens up to a peak, and where it is.

    Attributes:
        tokens: ids; no special token among them.
        document, context, position: of the peak; value: the activation there, behind all of the context.
    """

    tokens: list[int]
    document: str
    context: int
    position: int
    value: float


def best_windows(feature: Feature, n_tokens: int, n: int) -> list[Window]:
    """The last `n_tokens` tokens of each of a feature's `n` strongest examples; fewer where its document begins later.

    A peak at a special token, or one that nothing stands before, has no window.
    """
    out = []
    for example in feature.top(n):
        whole = example.whole()
        start = max(whole.position + 1 - n_tokens, 0)
        special = [i for i in range(start, whole.position + 1) if whole.special[i]]
        tokens = whole.tokens[special[-1] + 1 if special else start : whole.position + 1]
        if len(tokens) > 1:
            out.append(Window([int(t) for t in tokens], whole.document, whole.context, whole.position, whole.value))
    return out
