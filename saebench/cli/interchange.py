"""`saebench store import` and `saebench store export --to`: features from and for other tools."""

from pathlib import Path
from typing import Annotated

import typer
import yaml

from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.cli.progress import console
from saebench.corpus.tokenization import vocabulary
from saebench.errors import UserError
from saebench.lm.tokenizer import load_tokenizer, special_ids
from store import FeatureStore
from store.interchange import Names, export_neuronpedia, export_sae_dashboard, import_delphi, import_sae_dashboard

FORMATS = ("sae_dashboard", "neuronpedia")


def export_features(
    store: FeatureStore,
    folder: Path,
    to: str,
    features: list[int],
    sae: str | None,
    corpus: str | None,
    names: Names,
    creator: str,
) -> None:
    """Write features in the format of another tool."""
    if to == "sae_dashboard":
        export_sae_dashboard(store, folder, features, sae, corpus, names)
    elif to == "neuronpedia":
        export_neuronpedia(store, folder, features, sae, corpus, names, creator)
    else:
        raise UserError(f"there is no format {to!r} to export to; choose one of {', '.join(FORMATS)}")


def command(
    source: Annotated[
        Path, typer.Argument(help="SAEDashboard's batch-*.json, or a module's folder of delphi's cache.")
    ],
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    sae: Annotated[str | None, typer.Option(help="Id that the SAE gets; default: as the files have it.")] = None,
    corpus: Annotated[str, typer.Option(help="Id that the imported text gets.")] = "imported",
    tokenizer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The model's tokenizer.json, its folder, or a hub name. delphi needs it."),
    ] = None,
) -> None:
    """Build a feature index from files of SAEDashboard or delphi."""
    if not source.exists():
        raise UserError(f"there is no {source}; name a folder or file to import")
    if source.is_dir() and any(source.glob("*_*.safetensors")):
        opened = load_tokenizer(tokenizer or _of_sae(workspace, sae))
        path = import_delphi(workspace, source, vocabulary(opened), special_ids(opened), sae, corpus)
    else:
        known = None if tokenizer is None else vocabulary(load_tokenizer(tokenizer))
        path = import_sae_dashboard(workspace, source, sae, corpus, known)
    console.print(f"import    {path}", markup=False)


def _of_sae(workspace: Path, sae: str | None) -> str:
    """The model that an SAE of the workspace was trained on."""
    config = workspace / "saes" / (sae or "?") / "config.yaml"
    try:
        return str(yaml.safe_load(config.read_text(encoding="utf-8"))["provenance"]["model"]["name"])
    except (OSError, KeyError, TypeError, yaml.YAMLError):
        raise UserError(
            "delphi's files hold token ids but no texts; name the model's tokenizer with --tokenizer, or with --sae "
            "an SAE of the workspace"
        ) from None
