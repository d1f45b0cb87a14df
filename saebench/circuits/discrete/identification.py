"""From pairs of prompts to scores of heads and edges."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.circuits.batches import Batch
from saebench.circuits.discrete.codes import Settings, centred, fit, head_codes
from saebench.circuits.discrete.outputs import Pooling, head_outputs
from saebench.circuits.discrete.scores import edge_counts, node_counts, softmax
from saebench.circuits.heads import Edge, Head, all_heads
from saebench.errors import UserError
from saebench.lm import LanguageModel


@dataclass(frozen=True)
class Identified:
    """What the codes say.

    Attributes:
        counts: codes that a head has in clean prompts only (with `per_union`, their share).
        scores: the same through a softmax over all heads, the paper's node score.
        edges: pairs of codes that two heads of different layers have together in clean prompts only.
        codes: of clean and patched examples, in the order of the batches; heads as `all_heads` has them.
    """

    counts: dict[Head, float]
    scores: dict[Head, float]
    edges: dict[Edge, float]
    codes: tuple[Int[np.ndarray, "examples heads"], Int[np.ndarray, "examples heads"]]


def harvest(
    lm: LanguageModel, batches: Sequence[Batch], pooling: Pooling = "mean"
) -> Float[Tensor, "examples heads d_model"]:
    """Outputs of all heads: the clean prompts in the first half, the patched ones in the second.

    Raises:
        UserError: no examples, or examples without a patched prompt.
    """
    patched = [batch.patch for batch in batches if batch.patch is not None]
    if not batches or len(patched) < len(batches):
        raise UserError("discrete codes compare clean prompts with patched ones; give every example a patch")
    clean = [batch.clean for batch in batches]
    return torch.cat([head_outputs(lm, clean, pooling), head_outputs(lm, patched, pooling)])


def identify(
    lm: LanguageModel,
    outputs: Float[Tensor, "examples heads d_model"],
    settings: Settings | None = None,
    per_union: bool = False,
) -> Identified:
    """Learn codes of heads' outputs, and count those that only the first half of the examples has.

    Args:
        lm: the model that the outputs, as `harvest` gives them, are of.
        outputs: first those of the positive examples, then of as many negative ones.
        settings: how codes are learned.
        per_union: count codes as shares of all that a head has.

    Raises:
        UserError: outputs that are not finite.
    """
    settings = settings or Settings()
    outputs = centred(outputs) if settings.centre else outputs
    codes = head_codes(fit(outputs, settings), outputs)
    positive, negative = codes[: len(codes) // 2], codes[len(codes) // 2 :]
    heads = all_heads(lm)
    counts = node_counts(positive, negative, per_union)
    pairs = [(a, b) for a, one in enumerate(heads) for b, other in enumerate(heads) if one.layer < other.layer]
    edges = edge_counts(positive, negative, pairs, per_union)
    return Identified(
        counts=dict(zip(heads, counts.tolist(), strict=True)),
        scores=dict(zip(heads, softmax(counts).tolist(), strict=True)),
        edges={(heads[a], heads[b]): float(count) for (a, b), count in zip(pairs, edges, strict=True)},
        codes=(positive, negative),
    )
