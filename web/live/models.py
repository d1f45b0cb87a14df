"""Language models and SAEs of a workspace, opened on first use and kept.

Requests run in the server's worker threads; one lock serialises those that use a model, because hooks are attached to
it meanwhile. Only a few may wait for it, so that threads are left for the pages.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml

from saebench.errors import UserError

if TYPE_CHECKING:
    from saebench.corpus.tokenization import SourceTokenizer
    from saebench.interventions import Hooked
    from saebench.lm import LanguageModel

KEPT_SAES = 8
MOST_WAITING = 12


class BusyError(Exception):
    """Too many requests wait for the model."""


class CannotOpenError(UserError):
    """A model or an SAE is not there, or not the right one."""


class OpenedModel(NamedTuple):
    """A language model and its tokenizer, which remembers the bytes of every token."""

    lm: "LanguageModel"
    source: "SourceTokenizer"


class OpenedSae(NamedTuple):
    """An SAE at its hook point, the provenance of its model, and the state of its file."""

    hooked: "Hooked"
    model: dict[str, str]
    written: int


class InUse(NamedTuple):
    """What a request works with: a model, its tokenizer, and SAEs on it by id."""

    lm: "LanguageModel"
    source: "SourceTokenizer"
    saes: "dict[str, Hooked]"


class Live:
    """The models of one workspace."""

    def __init__(self, workspace: Path, lm_loader: "Callable[..., LanguageModel]") -> None:
        self._workspace = workspace
        self._load = lm_loader
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(MOST_WAITING)
        self._models: dict[str, OpenedModel] = {}
        self._saes: dict[str, OpenedSae] = {}
        self._failed: dict[str, str] = {}

    @contextmanager
    def using(self, *sae_ids: str) -> Iterator[InUse]:
        """SAEs and the model that they read, for this request alone.

        Raises:
            CannotOpenError: model or SAE cannot be opened.
            UserError: the SAEs do not all read one model.
            BusyError: too many requests wait already.
        """
        if not self._places.acquire(blocking=False):
            raise BusyError
        try:
            with self._lock:
                opened = {sae_id: self._sae(sae_id) for sae_id in sae_ids}
                while len(self._saes) > max(KEPT_SAES, len(opened)):  # all of a circuit's, that it be tested again
                    self._saes.pop(next(iter(self._saes)))
                first, *others = opened.values()
                for sae_id, other in zip(sae_ids[1:], others, strict=True):
                    if other.model["sha256"] != first.model["sha256"]:
                        raise UserError(f"SAEs {sae_ids[0]} and {sae_id} read different models; choose SAEs of one")
                model = self._model(first.model)
                yield InUse(model.lm, model.source, {sae_id: sae.hooked for sae_id, sae in opened.items()})
        finally:
            self._places.release()

    def _model(self, made: dict[str, str]) -> OpenedModel:
        key = repr(sorted(made.items()))
        if key in self._failed:
            raise CannotOpenError(self._failed[key])
        if key not in self._models:
            try:
                self._models[key] = self._open(made)
            except UserError as error:
                self._failed[key] = str(error)
                raise CannotOpenError(str(error)) from None
        return self._models[key]

    def _open(self, made: dict[str, str]) -> OpenedModel:
        from saebench.corpus.tokenization import SourceTokenizer

        lm = self._load(made["name"], device=made.get("device", "cpu"), precision=made.get("arithmetic", "auto"))
        if lm.sha256 != made["sha256"]:
            raise CannotOpenError(
                f"model {made['name']!r} is not the one this SAE was trained on (sha256 {lm.sha256[:12]}, "
                f"then {made['sha256'][:12]}); restore that model and start the dashboard again"
            )
        return OpenedModel(lm, SourceTokenizer(lm.tokenizer))

    def _sae(self, sae_id: str) -> OpenedSae:
        """An SAE and where it reads, kept until its file is written anew."""
        from saebench.interventions import Hooked
        from saebench.saes import SAE

        folder = self._workspace / "saes" / sae_id
        weights = folder / "sae.safetensors"
        written = weights.stat().st_mtime_ns if weights.exists() else 0
        kept = self._saes.pop(sae_id, None)
        if kept is None or kept.written != written:
            made, hook_point = trained_on(folder)
            try:
                sae = SAE.load(folder, device=made.get("device", "cpu"))
            except ValueError as error:
                raise CannotOpenError(f"SAE {sae_id} cannot be opened: {error}") from None
            kept = OpenedSae(Hooked(sae, hook_point), made, written)
        self._saes[sae_id] = kept
        return kept


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
    raise CannotOpenError(f"{path} does not say which model and hook point the SAE was trained on; train it again")
