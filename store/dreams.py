"""Dreams of features: prompts made to activate one, in `dreams/<sae>/<feature>.json`, each whole or not there.

A dream belongs to the weights that it was dreamt with, whose hash it says: one of other weights is never shown. What
dreams is `saebench dream`; the store only keeps it.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from store.errors import StoreError, explained
from store.files import write_atomically
from store.maps import weights_sha256
from store.workspace import check_id, index_files, indexes_folder


@dataclass(frozen=True)
class DreamPrompt:
    """A text and what a feature makes of it.

    Attributes:
        text: as the tokenizer writes it; tokens: its ids, without the begin token.
        pieces: the bytes of each token, in hexadecimal, since tokens need not be whole characters.
        activations: the feature's at each token; activation: at the last.
        cross_entropy: of the text under the model, nats per token.
        survives: whether tokenizing the text gives these tokens again; what does not, no text can bring about.
    """

    text: str
    tokens: list[int]
    pieces: list[str]
    activations: list[float]
    activation: float
    cross_entropy: float
    survives: bool


@dataclass(frozen=True)
class DreamExample(DreamPrompt):
    """A strong example of a corpus cut to the length of a dream's prompts, its peak last, and scored as they are.

    Attributes:
        document, context, position: where the peak is; value: the activation there, behind all of the context.
    """

    document: str
    context: int
    position: int
    value: float


@dataclass(frozen=True)
class Dream:
    """What activates a feature, from likely text to unlikely.

    Attributes:
        frontier: prompts of which none is both more likely and more activating, likeliest first.
        corpus: where the examples are from; None without them. examples: largest activation first.
        provenance: what it was made from, and how: `sae`, `sha256` of its weights, `model`, `settings`, `seed`, `code`.
    """

    sae: str
    feature: int
    frontier: list[DreamPrompt]
    corpus: str | None
    examples: list[DreamExample]
    provenance: dict[str, Any]

    @property
    def best(self) -> DreamPrompt:
        """The strongest prompt."""
        return self.frontier[-1]

    def spread(self, n: int) -> list[DreamPrompt]:
        """At most n prompts of the frontier (n ≥ 2), its ends among them, evenly by rank; likeliest first."""
        last = len(self.frontier) - 1
        chosen = range(last + 1) if last < n else sorted({round(i * last / (n - 1)) for i in range(n)})
        return [self.frontier[i] for i in chosen]

    @property
    def gain(self) -> float | None:
        """The largest activation of prompts as likely as the best example or more, in shares of that one's.

        None without an example that activates the feature, or where every prompt is less likely than it.
        """
        if not self.examples or self.examples[0].activation <= 0:
            return None
        best = self.examples[0]
        as_likely = [one.activation for one in self.frontier if one.cross_entropy <= best.cross_entropy]
        return max(as_likely) / best.activation if as_likely else None


def dream_path(workspace: Path, sae: str, feature: int) -> Path:
    """Where a feature's dream lies, or would lie. Raises StoreError for an id that can name no SAE."""
    return workspace / "dreams" / check_id(sae) / f"{int(feature)}.json"


def find_dream(workspace: Path, sae: str, feature: int) -> Dream | None:
    """A feature's dream with the SAE's weights as they are now; None if there is none.

    Raises:
        StoreError: the weights are missing, or the file cannot be read.
    """
    path = dream_path(workspace, sae, feature)
    if not path.exists():
        return None
    found = _read(path)
    return found if found.provenance.get("sha256") == weights_sha256(workspace, sae) else None


def check_dreams(workspace: Path) -> Iterator[tuple[str, list[str]]]:
    """The dreams of every SAE, one SAE after the other: its id and how many, and the problems found."""
    folders = sorted(folder for folder in (workspace / "dreams").glob("*") if folder.is_dir())
    indexes = index_files(indexes_folder(workspace))
    for folder in folders:
        paths = sorted(folder.glob("*.json"))
        problems = [problem for path in paths for problem in _problems(workspace, path, indexes)]
        yield f"{folder.name} ({len(paths)})", problems


def forgotten_dreams(workspace: Path) -> Iterator[tuple[Path, str]]:
    """Dreams that are never shown again, and why; damaged ones are `check_dreams`' to say."""
    for path in sorted((workspace / "dreams").glob("*/*.json")):
        try:
            reason = _of_other_weights(workspace, path.parent.name, _read(path))
        except StoreError:
            continue
        if reason:
            yield path, reason


def _problems(workspace: Path, path: Path, indexes: Collection[str]) -> Iterator[str]:
    try:
        found = _read(path)
    except StoreError as error:
        yield str(error)
        return
    sae = path.parent.name
    again = f"`saebench dream --sae {sae} --feature {path.stem}`"
    if (found.sae, str(found.feature)) != (sae, path.stem):
        yield f"{path} is a dream of feature {found.feature} of {found.sae}; put it where it belongs, or run {again}"
    elif reason := _of_other_weights(workspace, sae, found):
        yield f"{path}: {reason}; run {again} anew, or `saebench store gc --yes` to remove it"
    elif found.corpus is not None and f"{sae}.{found.corpus}" not in indexes:
        yield (
            f"{path}: its examples are of an index on {found.corpus} that is gone; make it again with `saebench index "
            f"--sae {sae}`, or run {again} anew"
        )


def _of_other_weights(workspace: Path, sae: str, found: Dream) -> str | None:
    """Why a dream is not of the weights that its SAE has now, if so."""
    try:
        same = found.provenance.get("sha256") == weights_sha256(workspace, sae)
    except StoreError:
        return "its SAE is gone"
    return None if same else "it was dreamt with other weights than its SAE has now"


def _read(path: Path) -> Dream:
    """The dream of a file. Raises StoreError where it is none."""
    with explained("cannot read", path):
        text = path.read_bytes()
    try:
        return _dream(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        again = f"delete it and run `saebench dream --sae {path.parent.name} --feature {path.stem}`"
        raise StoreError(f"{path} is no dream ({' '.join(str(error).split())[:80]}); {again}") from None


def write_dream(workspace: Path, dream: Dream) -> Path:
    """Keep a dream instead of the one that is there; the whole file or none.

    Raises:
        StoreError: it cannot be written.
    """
    path = dream_path(workspace, dream.sae, dream.feature)
    text = json.dumps(asdict(dream), indent=1, sort_keys=True, allow_nan=False)
    with explained("cannot write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda temporary: _write(temporary, text))
    return path


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _dream(data: dict[str, Any]) -> Dream:
    prompts = [DreamPrompt(**one) for one in data["frontier"]]
    if not prompts:
        raise ValueError("its frontier is empty")
    return Dream(**{**data, "frontier": prompts, "examples": [DreamExample(**one) for one in data["examples"]]})
