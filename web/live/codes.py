"""The sparse codes of any text."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from web.live.applied import applied, moved, saes_of
from web.live.models import InUse, Live
from web.live.windows import windows

if TYPE_CHECKING:
    from torch import Tensor

    from saebench.interventions import InterventionSet


@dataclass(frozen=True)
class LiveCodes:
    """Sparse codes of a text: token t owns the entries offsets[t]:offsets[t + 1].

    Attributes:
        pieces: source bytes of each token; no special tokens are among them.
        moved: by how much interventions change each token where they act; None: there are none.
    """

    pieces: list[bytes]
    offsets: Int[np.ndarray, " tokens+1"]
    latents: Int[np.ndarray, " nnz"]
    values: Float[np.ndarray, " nnz"]
    moved: Float[np.ndarray, " tokens"] | None = None

    def of(self, feature: int) -> Float[np.ndarray, " tokens"]:
        """The activation of one feature at every token."""
        tokens = np.repeat(np.arange(len(self.pieces)), np.diff(self.offsets))
        out = np.zeros(len(self.pieces), np.float32)
        mine = self.latents == feature
        out[tokens[mine]] = self.values[mine]
        return out

    def part(self, start: int, stop: int) -> "LiveCodes":
        """The codes of tokens start to stop - 1."""
        first, last = self.offsets[start], self.offsets[stop]
        offsets = self.offsets[start : stop + 1] - first
        return LiveCodes(self.pieces[start:stop], offsets, self.latents[first:last], self.values[first:last])


def live_codes(live: Live, sae_id: str, text: str, kept: "InterventionSet | None" = None) -> LiveCodes:
    """Codes of a text, as the model computes them under saved interventions, if there are any.

    Raises:
        UserError: model or SAE cannot be opened.
        BusyError: too many wait for the model.
    """
    import torch

    parts: list[LiveCodes] = []
    with live.using(*dict.fromkeys([sae_id, *saes_of(kept)])) as use, torch.inference_mode():
        sae, hook_point, _ = use.saes[sae_id]
        for window in windows(use, text):
            x = _read(use, window.tokens, hook_point, kept)[0][window.ordinary]
            codes = sae.encode(x.float()).to("cpu")
            numbers = codes.offsets.numpy(), codes.latents.numpy(), codes.values.float().numpy()
            parts.append(
                LiveCodes(window.pieces, *numbers, moved(use, kept, window.tokens)[window.ordinary] if kept else None)
            )
    return joined(parts)


def _read(
    use: InUse, tokens: "Int[Tensor, 'one read']", hook_point: str, kept: "InterventionSet | None"
) -> "Float[Tensor, 'one read width']":
    if kept is None:
        return use.lm.activations(tokens, [hook_point])[hook_point]  # which ends at the hook point
    with applied(use, kept):
        return use.lm.run(tokens, [hook_point])[1][hook_point]


def joined(parts: list[LiveCodes]) -> LiveCodes:
    """Codes of consecutive contexts, put end to end."""
    counts = [np.diff(part.offsets) for part in parts]
    changed = all(part.moved is not None for part in parts)
    return LiveCodes(
        [piece for part in parts for piece in part.pieces],
        np.cumsum(np.concatenate([[0], *counts])).astype(np.int64),
        np.concatenate([np.zeros(0, np.int32), *(part.latents for part in parts)]),
        np.concatenate([np.zeros(0, np.float32), *(part.values for part in parts)]),
        np.concatenate([part.moved for part in parts if part.moved is not None]) if parts and changed else None,
    )
