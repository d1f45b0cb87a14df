"""Where features fire in a text that is not indexed, so that a person can judge what they are about there."""

import codecs
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from saebench.corpus import Contexts
from saebench.indexing.build import encode_batch
from saebench.interventions.apply import Hooked
from saebench.interventions.choosing.candidates import Excerpt, check_features
from saebench.lm import LanguageModel


class _Peak(NamedTuple):
    """Where a feature is strongest in a context, and the stretch around it: its tokens and the activations there."""

    document: int
    block: Contexts
    context: int
    position: int
    around: slice
    activations: Float[np.ndarray, " around"]

    @property
    def value(self) -> float:
        """The largest activation."""
        return float(self.activations[self.position - self.around.start])


def excerpts(
    lm: LanguageModel,
    hooked: Hooked,
    features: Sequence[int],
    blocks: Iterable[Contexts],
    documents: Sequence[str],
    n: int = 3,
    near: int = 8,
    on_progress: Callable[[int], None] = lambda _: None,
) -> list[list[Excerpt]]:
    """Where each of some features fires most: in one context of every document before a second of any.

    Args:
        lm: the model.
        hooked: the SAE and where it reads.
        features: which.
        blocks: the text.
        documents: names of the documents in the order in which they were packed.
        n: for each feature, at most; one that never fires has none.
        near: tokens on either side of the peak, of the same document.
        on_progress: is told the number of contexts done.

    Raises:
        UserError: a feature that is not there, no such hook point, or an SAE of another width.
    """
    check_features(features, hooked.sae.n_latents)
    lm.check_hook_points([hooked.hook_point])
    peaks: dict[int, list[_Peak]] = {feature: [] for feature in features}
    done = 0
    for block in blocks:
        counts, latents, values = encode_batch(lm, hooked.sae, hooked.hook_point, block)
        token = np.repeat(np.arange(len(counts)), counts)
        for feature in peaks:
            mine = latents == feature
            peaks[feature] += _peaks(block, token[mine], values[mine], near)
        done += len(block)
        on_progress(done)
    return [[_excerpt(peak, documents) for peak in _spread(peaks[feature])[:n]] for feature in features]


def _peaks(
    block: Contexts, token: Int[np.ndarray, " firing"], values: Float[np.ndarray, " firing"], near: int
) -> list[_Peak]:
    """One for every context in which a feature fires."""
    activations = np.zeros(block.special.size, np.float32)
    activations[token] = values
    found = []
    for context, own in enumerate(activations.reshape(block.special.shape)):
        position = int(own.argmax())
        if own[position] > 0:
            document, run = _run(block, context, position)
            around = slice(max(run.start, position - near), min(run.stop, position + near + 1))
            found.append(_Peak(document, block, context, position, around, own[around].copy()))
    return found


def _run(block: Contexts, context: int, position: int) -> tuple[int, slice]:
    """The document that a token is of, and the tokens of the context that are of it."""
    start, document = next((start, n) for start, n, _ in reversed(block.segments[context]) if start <= position)
    ends = [start for start, _, _ in block.segments[context] if start > position]
    ends += [position + int(at) for at in np.flatnonzero(block.special[context, position:])]
    return document, slice(start, min(ends, default=block.special.shape[1]))


def _spread(peaks: list[_Peak]) -> list[_Peak]:
    """The strongest first, but the first of every document before the second of any."""
    seen: dict[int, int] = {}
    turns = []
    for peak in sorted(peaks, key=lambda peak: -peak.value):
        seen[peak.document] = turn = seen.get(peak.document, -1) + 1
        turns.append((turn, peak))
    return [peak for _, peak in sorted(turns, key=lambda each: each[0])]


def _excerpt(peak: _Peak, documents: Sequence[str]) -> Excerpt:
    """Its tokens as texts; a character that is split over several makes them one, with the largest activation."""
    source, bounds = peak.block.source[peak.context], peak.block.bounds[peak.context]
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    tokens, activations, at_peak = [""], [0.0], 0
    for position, value in enumerate(peak.activations.tolist(), peak.around.start):
        tokens[-1] += decoder.decode(source[bounds[position] : bounds[position + 1]])
        activations[-1] = max(activations[-1], value)
        if position == peak.position:
            at_peak = len(tokens) - 1
        if not decoder.getstate()[0]:
            tokens.append("")
            activations.append(0.0)
    tokens[-1] += decoder.decode(b"", final=True)
    shown = len(tokens) if tokens[-1] else len(tokens) - 1
    return Excerpt(
        document=documents[peak.document], tokens=tuple(tokens[:shown]), activations=tuple(activations[:shown]),
        peak=at_peak,
    )  # fmt: skip
