"""Live activations of any text: tokenized, packed and encoded as a corpus is, in contexts of the model's length.

Model and SAE are opened on first use and kept. Requests run in the server's worker threads; one lock serialises them,
because hooks are attached to the model for the length of a forward pass.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import yaml
from jaxtyping import Float, Int

from saebench.errors import UserError

if TYPE_CHECKING:
    from saebench.lm import LanguageModel
    from saebench.saes import SAE

MOST_CHARACTERS = 8_000
KEPT_SAES = 4


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


def joined(parts: list[LiveCodes]) -> LiveCodes:
    """Codes of consecutive contexts, put end to end."""
    counts = [np.diff(part.offsets) for part in parts]
    return LiveCodes(
        [piece for part in parts for piece in part.pieces],
        np.cumsum(np.concatenate([[0], *counts])).astype(np.int64),
        np.concatenate([np.zeros(0, np.int32), *(part.latents for part in parts)]),
        np.concatenate([np.zeros(0, np.float32), *(part.values for part in parts)]),
    )


Live = Callable[[str, str], LiveCodes]
"""(sae_id, text) → codes. Raises UserError where model or SAE cannot be opened."""


class Opened(NamedTuple):
    """An SAE, the provenance of its model, and its hook point."""

    sae: "SAE"
    model: dict[str, str]
    hook_point: str


class LiveEncoder:
    """The real `Live`: a language model and SAEs of one workspace."""

    def __init__(self, workspace: Path, lm_loader: "Callable[..., LanguageModel]") -> None:
        self._workspace = workspace
        self._load = lm_loader
        self._lock = threading.Lock()
        self._models: dict[str, LanguageModel] = {}
        self._saes: dict[str, Opened] = {}
        self._failed: dict[str, str] = {}

    def __call__(self, sae_id: str, text: str) -> LiveCodes:
        """Codes of a text. Raises UserError where its model or the SAE cannot be opened."""
        import torch

        from saebench.corpus.contexts import Encoded, pack
        from saebench.corpus.tokenization import SourceTokenizer

        with self._lock:
            sae, made, hook_point = self._sae(sae_id)
            lm = self._model(made)
            tokenizer = SourceTokenizer(lm.tokenizer)
            [(ids, lengths)] = tokenizer.encode([text])
            document = Encoded(ids, lengths, text.encode())
            parts: list[LiveCodes] = []
            with torch.inference_mode():
                for context in pack([document], lm.context_length, lm.tokenizer.bos_token_id, None):
                    tokens = torch.from_numpy(context.tokens.astype(np.int64))
                    used = int(np.flatnonzero(~context.special[0])[-1]) + 1  # causal: what follows changes nothing
                    x = lm.activations(tokens[:, :used], [hook_point])[hook_point][0]
                    real = np.flatnonzero(~context.special[0][:used])
                    codes = sae.encode(x.float()[torch.from_numpy(real)])
                    source, bounds = context.source[0], context.bounds[0]
                    pieces = [source[bounds[i] : bounds[i + 1]] for i in real]
                    parts.append(
                        LiveCodes(pieces, codes.offsets.numpy(), codes.latents.numpy(), codes.values.float().numpy())
                    )
            return joined(parts)

    def _model(self, made: dict[str, str]) -> "LanguageModel":
        """The model an SAE was trained on; one that could not be opened is not tried again."""
        key = made["sha256"]
        if key in self._failed:
            raise UserError(self._failed[key])
        if key not in self._models:
            try:
                self._models[key] = self._open(made)
            except UserError as error:
                self._failed[key] = str(error)
                raise
        return self._models[key]

    def _open(self, made: dict[str, str]) -> "LanguageModel":
        lm = self._load(made["name"], device=made.get("device", "cpu"), precision=made.get("arithmetic", "auto"))
        if lm.sha256 != made["sha256"]:
            raise UserError(
                f"model {made['name']!r} is not the one this SAE was trained on (sha256 {lm.sha256[:12]}, "
                f"then {made['sha256'][:12]}); restore that model and start the dashboard again"
            )
        return lm

    def _sae(self, sae_id: str) -> Opened:
        """An SAE and where it reads; the last few are kept."""
        from saebench.saes import SAE

        if sae_id not in self._saes:
            folder = self._workspace / "saes" / sae_id
            made, hook_point = trained_on(folder)
            try:
                sae = SAE.load(folder)
            except ValueError as error:
                raise UserError(f"SAE {sae_id} cannot be opened: {error}") from None
            while len(self._saes) >= KEPT_SAES:
                self._saes.pop(next(iter(self._saes)))
            self._saes[sae_id] = Opened(sae, made, hook_point)
        return self._saes[sae_id]


def trained_on(folder: Path) -> tuple[dict[str, str], str]:
    """(provenance of the model, hook point) that an SAE was trained on, from its `config.yaml`.

    Raises:
        UserError: the config cannot be read, or does not say.
    """
    path = folder / "config.yaml"
    try:
        provenance = yaml.safe_load(path.read_text(encoding="utf-8"))["provenance"]
        model, hook_point = provenance["model"], provenance["hook_point"]
        if isinstance(model["name"], str) and isinstance(model["sha256"], str) and isinstance(hook_point, str):
            return model, hook_point
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        pass
    raise UserError(f"{path} does not say which model and hook point the SAE was trained on; train it again")
