"""A language model of a few thousand random weights, in a Hugging Face folder, and an SAE on its activations."""

from pathlib import Path

import torch
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from saebench.lm import load_lm
from saebench.saes import SAE, TopK

HOOK_POINT = "blocks.0.hook_resid_post"
TRAINING = "demo.blocks.3.hook_resid_post.topk-8192-k64.still-training-with-a-rather-long-name"
"""An SAE that is still in training."""
WIDTH, CONTEXT = 16, 32
TEXT = ["def f(self):\n\treturn self.x + 1\n", "for item in items:\n    print(item, 'naïve → 日本')\n"] * 8


def write_lm(folder: Path) -> Path:
    """A random GPT-2 with two layers and a byte-level tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(TEXT, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>", model_max_length=CONTEXT
    )
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(fast), n_positions=CONTEXT, n_embd=WIDTH, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def write_sae(folder: Path, lm_folder: Path, n_latents: int) -> None:
    """An untrained SAE that says it reads the tiny model."""
    lm = load_lm(str(lm_folder))
    SAE.create(WIDTH, n_latents, TopK(k=8)).save(folder)
    provenance = {"model": lm.provenance, "hook_point": HOOK_POINT}
    config = {"sae": {"n_latents": n_latents, "rule": {"name": "topk", "k": 8}}, "tokens": 5_000_000}
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"provenance": provenance}))
