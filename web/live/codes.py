"""The sparse codes of any text."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from web.live.models import Live
from web.live.windows import windows


@dataclass(frozen=True)
class LiveCodes:
    """Sparse codes of a text: token t owns the entries offsets[t]:offsets[t + 1].

    Attributes:
        pieces: source bytes of each token; no special tokens are among them.
    """

    pieces: list[bytes]
    offsets: Int[np.ndarray, " tokens+1"]
    latents: Int[np.ndarray, " nnz"]
    values: Float[np.ndarray, " nnz"]

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


def live_codes(live: Live, sae_id: str, text: str) -> LiveCodes:
    """Codes of a text.

    Raises:
        UserError: model or SAE cannot be opened.
        BusyError: too many wait for the model.
    """
    import torch

    parts: list[LiveCodes] = []
    with live.using(sae_id) as use, torch.inference_mode():
        sae, hook_point, _ = use.saes[sae_id]
        for window in windows(use, text):
            x = use.lm.activations(window.tokens, [hook_point])[hook_point][0][window.ordinary]
            codes = sae.encode(x.float()).to("cpu")
            numbers = codes.offsets.numpy(), codes.latents.numpy(), codes.values.float().numpy()
            parts.append(LiveCodes(window.pieces, *numbers))
    return joined(parts)


def joined(parts: list[LiveCodes]) -> LiveCodes:
    """Codes of consecutive contexts, put end to end."""
    counts = [np.diff(part.offsets) for part in parts]
    return LiveCodes(
        [piece for part in parts for piece in part.pieces],
        np.cumsum(np.concatenate([[0], *counts])).astype(np.int64),
        np.concatenate([np.zeros(0, np.int32), *(part.latents for part in parts)]),
        np.concatenate([np.zeros(0, np.float32), *(part.values for part in parts)]),
    )
