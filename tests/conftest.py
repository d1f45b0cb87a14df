"""A tiny random GPT-2 with its own tokenizer, in a Hugging Face folder: real code paths, milliseconds a pass."""

import os
import shutil
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub loads: a test never waits for the network

import pytest
import torch
from sample_text import SAMPLE, write_texts

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when triton loads, which libraries do that tests of other things import

from saebench.lm import LanguageModel, load_lm
from saebench.lm.demo_model.sources import Source
from saebench.lm.demo_model.tokens import train_tokenizer

SLOW_FOLDERS = ("cli", "training", "web")
"""Their tests start processes and browsers; what is long comes first, so that no core is left waiting for it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files by folder: xdist hands them out in this order (`make pytest`)."""
    folders = [*SLOW_FOLDERS, ""]
    items.sort(key=lambda item: folders.index(item.path.parent.name if item.path.parent.name in folders else ""))


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hugging Face folder of a 3-layer model that reads contexts of 32 tokens."""
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("models") / "tiny"
    text = SAMPLE + Path(torch.__file__).read_text()[:60_000]
    tokenizer = train_tokenizer([Source("sample", text, 1)], 384)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=32, n_embd=32, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0
    )
    model = GPT2LMHeadModel(config)
    with torch.no_grad():  # far from the origin of training, so that every part of the model matters
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_without_weights(tiny_folder: Path, tmp_path: Path) -> Path:
    """The folder of that model without its weights: whatever opens it fails."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "no-weights", ignore=shutil.ignore_patterns("*.safetensors")))


@pytest.fixture(scope="session")
def tiny_lm(tiny_folder: Path) -> LanguageModel:
    """That model, opened."""
    return load_lm(str(tiny_folder))


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A folder of twelve small text files, one of them empty."""
    return write_texts(tmp_path / "texts")
