"""Open a language model: the bundled one, a local Hugging Face folder, or a hub name."""

import hashlib
import re
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import nn

from saebench.errors import UserError
from saebench.lm.model import LanguageModel
from saebench.lm.plain import twin_of

WEIGHT_FILES = ("*.safetensors", "config.json", "tokenizer*.json")


def demo_folder() -> Path:
    """The Hugging Face folder of the bundled demo model."""
    return Path(str(resources.files("saebench"))) / "assets" / "demo"


def load_lm(
    name: str = "demo", *, revision: str | None = None, device: str = "cpu", precision: str = "auto"
) -> LanguageModel:
    """Boot a model through `TransformerBridge`.

    Args:
        name: `demo`, a folder in Hugging Face layout, or a hub name.
        revision: hub revision.
        device: torch device.
        precision: arithmetic of the forward pass; see `fast_precision` for `auto`.

    Raises:
        UserError: no such model, an architecture TransformerBridge does not know, an unusable device.
    """
    folder = demo_folder() if name == "demo" else Path(name).expanduser()
    local = folder.is_dir()
    if not local and name.startswith((".", "/", "~")):
        raise UserError(f"model folder {name!r} does not exist")
    if local and not (folder / "config.json").exists():
        raise UserError(f"model folder {name!r} has no config.json: it is not in Hugging Face layout")
    bridge, plain = boot(str(folder) if local else name, revision, device)
    source = str(folder.resolve()) if local and name != "demo" else name
    label = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name if local else name)
    digest = hash_folder(folder) if local else hash_hub(bridge, name)
    arithmetic = fast_precision(device) if precision == "auto" else getattr(torch, precision)
    return LanguageModel(bridge, plain, label, source, digest, arithmetic)


def boot(source: str, revision: str | None, device: str) -> tuple[Any, nn.Module]:
    """A bridged model and the same weights without the bridge; the many ways to fail turned into one line."""
    import transformers
    from transformer_lens.model_bridge import TransformerBridge

    transformers.utils.logging.disable_progress_bar()
    arguments = {} if revision is None else {"revision": revision}
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {device!r} cannot be used here: {str(error).splitlines()[0]}") from None
    try:
        model: nn.Module = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, **arguments)
        model.to(device)
        plain = twin_of(model)
        bridge = TransformerBridge.boot_transformers(
            source, hf_model=model, device=device, dtype=torch.float32, **arguments
        )
    except Exception as error:  # transformers, huggingface_hub and TransformerLens each raise their own kinds
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"cannot open model {source!r}: {reason}") from None
    if bridge.tokenizer is None:
        raise UserError(f"model {source!r} has no tokenizer; add its tokenizer files to the folder")
    for module in (bridge, plain):
        module.requires_grad_(False)
        module.eval()
    return bridge, plain


def fast_precision(device: str) -> torch.dtype:
    """bfloat16 where the hardware has matrix units for it (CUDA ≥ 8.0, AMX), float32 elsewhere.

    AVX-512's bf16 instructions alone are slower than float32 in oneDNN.
    """
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if device == "cpu" and torch.cpu._is_amx_tile_supported() else torch.float32


def hash_folder(folder: Path) -> str:
    """sha256 over the names and contents of the files that decide what the model computes."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in WEIGHT_FILES for path in folder.glob(pattern)):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def hash_hub(bridge: Any, name: str) -> str:
    """sha256 of a hub model's name and resolved commit."""
    commit = getattr(bridge.original_model.config, "_commit_hash", None)
    return hashlib.sha256(f"{name}@{commit}".encode()).hexdigest()
