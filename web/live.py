"""Live activations of any text: tokenized, packed and encoded exactly as an indexed corpus is.

Model and SAE are opened on first use and kept. Requests run in the server's worker threads; one lock serialises them,
because hooks are attached to the model for the length of a forward pass.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


Live = Callable[[str, str], LiveCodes]
"""(sae_id, text) → codes. Raises UserError where model or SAE cannot be opened."""


class LiveEncoder:
    """The real `Live`: a language model and SAEs of one workspace."""

    def __init__(self, workspace: Path, lm_loader: "Callable[[str], LanguageModel]") -> None:
        self._workspace = workspace
        self._load = lm_loader
        self._lock = threading.Lock()
        self._models: dict[str, LanguageModel] = {}
        self._saes: dict[str, tuple[SAE, str, str]] = {}
        self._failed: dict[str, str] = {}

    def __call__(self, sae_id: str, text: str) -> LiveCodes:
        """Codes of `text`, which is cut into contexts of the model's length where it is longer."""
        import torch

        from saebench.corpus.contexts import Encoded, pack
        from saebench.corpus.tokenization import SourceTokenizer

        with self._lock:
            sae, model_name, hook_point = self._sae(sae_id)
            lm = self._model(model_name)
            tokenizer = SourceTokenizer(lm.tokenizer)
            [(ids, lengths)] = tokenizer.encode([text])
            document = Encoded(ids, lengths, text.encode())
            out = _Codes()
            with torch.inference_mode():
                for context in pack([document], lm.context_length, lm.tokenizer.bos_token_id, None):
                    tokens = torch.from_numpy(context.tokens.astype(np.int64))
                    used = int(np.flatnonzero(~context.special[0])[-1]) + 1  # causal: what follows changes nothing
                    x = lm.activations(tokens[:, :used], [hook_point])[hook_point][0]
                    real = np.flatnonzero(~context.special[0][:used])
                    codes = sae.encode(x.float()[torch.from_numpy(real)])
                    source, bounds = context.source[0], context.bounds[0]
                    out.pieces += [source[bounds[i] : bounds[i + 1]] for i in real]
                    out.add(codes.offsets.numpy(), codes.latents.numpy(), codes.values.numpy())
            return out.joined()

    def _model(self, name: str) -> "LanguageModel":
        if name in self._failed:
            raise UserError(self._failed[name])
        if name not in self._models:
            try:
                self._models[name] = self._load(name)
            except UserError as error:
                self._failed[name] = str(error)
                raise
        return self._models[name]

    def _sae(self, sae_id: str) -> "tuple[SAE, str, str]":
        from saebench.saes import SAE

        if sae_id not in self._saes:
            folder = self._workspace / "saes" / sae_id
            model_name, hook_point = sae_source(folder)
            try:
                sae = SAE.load(folder)
            except ValueError as error:
                raise UserError(f"SAE {sae_id} cannot be opened: {error}") from None
            while len(self._saes) >= KEPT_SAES:
                self._saes.pop(next(iter(self._saes)))
            self._saes[sae_id] = (sae, model_name, hook_point)
        return self._saes[sae_id]


class _Codes:
    """Codes of consecutive contexts, put end to end."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self._counts: list[np.ndarray] = []
        self._latents: list[np.ndarray] = []
        self._values: list[np.ndarray] = []

    def add(self, offsets: np.ndarray, latents: np.ndarray, values: np.ndarray) -> None:
        self._counts.append(np.diff(offsets))
        self._latents.append(latents)
        self._values.append(values)

    def joined(self) -> LiveCodes:
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(self._counts))]).astype(np.int64)
        return LiveCodes(self.pieces, offsets, np.concatenate(self._latents), np.concatenate(self._values))


def sae_source(folder: Path) -> tuple[str, str]:
    """(model, hook point) that an SAE was trained on, from its `config.yaml`.

    Raises:
        UserError: the SAE has no readable config, or it does not say.
    """
    try:
        config: Any = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError):
        raise UserError(f"{folder / 'config.yaml'} is missing or unreadable, so the SAE's model is unknown") from None
    model = _find(config, "model")
    model = model.get("name") if isinstance(model, dict) else model
    hook_point = _find(config, "hook_point")
    if not isinstance(model, str) or not isinstance(hook_point, str):
        raise UserError(f"{folder / 'config.yaml'} does not name the SAE's model and hook_point; train it again")
    return model, hook_point


def _find(config: Any, key: str) -> Any:
    """The shallowest value of `key` in nested mappings."""
    level = [config]
    while level:
        for mapping in level:
            if isinstance(mapping, dict) and key in mapping:
                return mapping[key]
        level = [value for mapping in level if isinstance(mapping, dict) for value in mapping.values()]
    return None
