"""The demo model in float32, transformers' own copy of it, and a text."""

import pytest
import torch
from torch import Tensor, nn

from saebench.lm import LanguageModel, load_lm
from saebench.lm.load import demo_folder

TEXT = "def read(self, path):\n    with open(path) as file:\n        return file"


@pytest.fixture(scope="package")
def lm() -> LanguageModel:
    return load_lm(precision="float32")


@pytest.fixture(scope="package")
def hf() -> nn.Module:
    from transformers import GPT2LMHeadModel

    return GPT2LMHeadModel.from_pretrained(demo_folder(), dtype=torch.float32).eval()


@pytest.fixture(scope="package")
def tokens(lm: LanguageModel) -> Tensor:
    return torch.tensor([[lm.tokenizer.bos_token_id, *lm.tokenizer(TEXT, add_special_tokens=False)["input_ids"]]])
