"""The formats there are, and how to tell them apart: a new one is one file and one entry here.

Decisions: a folder is known by the names of its files; a lone `.pt` file by its content, which is read as weights only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from saebench.saes import files
from saebench.saes.formats import dictionary_learning, openai, openmoss, saelens, source, sparsify
from saebench.saes.formats.checks import Config, Tensors
from saebench.saes.sae import SAE


@dataclass(frozen=True)
class Format:
    """How one library keeps an SAE."""

    library: str
    files: tuple[str, ...]
    """What a folder of it holds."""
    read: Callable[[Path], tuple[SAE, list[str]]]
    """The SAE in a folder or file, and notes for its user. Raises ValueError."""
    contents: Callable[[SAE], dict[str, bytes]] | None = None
    """The files to write, the weights last; None where we only read. Raises ValueError."""


def _read_own(folder: Path) -> tuple[SAE, list[str]]:
    return SAE.load(folder), []


def _own_contents(sae: SAE) -> dict[str, bytes]:
    return files.contents(sae.state_dict(), sae.config())


def _read_saelens(folder: Path) -> tuple[SAE, list[str]]:
    config = source.read_json(folder / saelens.CONFIG)
    if (folder / saelens.SCALER).exists():
        config[saelens.SCALER] = source.read_json(folder / saelens.SCALER)
    return saelens.from_saelens(config, files.read_tensors(folder / saelens.WEIGHTS))


def _read_sparsify(folder: Path) -> tuple[SAE, list[str]]:
    config = source.read_json(folder / sparsify.CONFIG)
    return sparsify.from_sparsify(config, files.read_tensors(folder / sparsify.WEIGHTS))


def _read_dictionary_learning(path: Path) -> tuple[SAE, list[str]]:
    """A trainer's folder, or one of the `.pt` files in it or in its `checkpoints`."""
    file = path / dictionary_learning.WEIGHTS if path.is_dir() else path
    config = source.read_json(_trainer_config(file) or file.parent / dictionary_learning.CONFIG)
    tensors = source.tensors_only(source.read_pickle(file))
    return dictionary_learning.from_dictionary_learning(config, tensors)


def _trainer_config(file: Path) -> Path | None:
    beside = [folder / dictionary_learning.CONFIG for folder in (file.parent, file.parent.parent)]
    return next((path for path in beside if path.is_file()), None)


def _read_openai(path: Path) -> tuple[SAE, list[str]]:
    config, tensors = openai.split(source.read_pickle(path))
    return openai.from_openai(config, source.tensors_only(tensors))


def _read_openmoss(folder: Path) -> tuple[SAE, list[str]]:
    config = source.read_json(folder / openmoss.CONFIG)
    return openmoss.from_openmoss(config, files.read_tensors(folder / openmoss.WEIGHTS))


def _writer(
    to: Callable[[SAE], tuple[Config, Tensors]], names: tuple[str, str], pack: Callable[[Tensors], bytes]
) -> Callable[[SAE], dict[str, bytes]]:
    def contents(sae: SAE) -> dict[str, bytes]:
        config, tensors = to(sae)
        return {names[0]: source.as_json(config), names[1]: pack(tensors)}

    return contents


_SAELENS = (saelens.CONFIG, saelens.WEIGHTS)
_SPARSIFY = (sparsify.CONFIG, sparsify.WEIGHTS)
_DICTIONARY = (dictionary_learning.CONFIG, dictionary_learning.WEIGHTS)

FORMATS: dict[str, Format] = {
    "saebench": Format("saebench", (files.CONFIG, files.WEIGHTS), _read_own, _own_contents),
    "saelens": Format("SAELens", _SAELENS, _read_saelens, _writer(saelens.to_saelens, _SAELENS, source.as_safetensors)),
    "sparsify": Format(
        "sparsify", _SPARSIFY, _read_sparsify, _writer(sparsify.to_sparsify, _SPARSIFY, source.as_safetensors)
    ),
    "dictionary_learning": Format(
        "dictionary_learning",
        _DICTIONARY,
        _read_dictionary_learning,
        _writer(dictionary_learning.to_dictionary_learning, _DICTIONARY, source.as_pickle),
    ),
    "openai": Format("OpenAI", (), _read_openai),
    "openmoss": Format("OpenMOSS", (openmoss.CONFIG, openmoss.WEIGHTS), _read_openmoss),
}


def detect(path: Path | str) -> str:
    """The format of a checkpoint, by its files. Raises ValueError for none and for several."""
    path = Path(path)
    if path.is_file():
        if path.suffix != ".pt":
            raise ValueError(f"{path}: name the folder that holds the checkpoint, or a .pt file")
        return "openai" if "pre_bias" in source.read_pickle(path) else "dictionary_learning"
    if not path.is_dir():
        raise ValueError(f"{path}: no such file or folder")
    found = held(path)
    if len(found) > 1:
        raise ValueError(f"{path}: holds several checkpoints, {', '.join(found)}; say which (--from)")
    if found:
        return found[0]
    within = sorted(folder.name for folder in path.iterdir() if folder.is_dir() and held(folder))
    where = f"; there are checkpoints in its folders {', '.join(within)}" if within else ""
    raise ValueError(f"{path}: holds no checkpoint that saebench knows ({', '.join(FORMATS)}){where}")


def held(folder: Path) -> list[str]:
    """The formats whose files are all in a folder."""
    return [
        name
        for name, known in FORMATS.items()
        if known.files and all((folder / file).is_file() for file in known.files)
    ]
