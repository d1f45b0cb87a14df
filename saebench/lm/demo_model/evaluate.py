"""The two figures that the demo model is held to: bits per byte on held-out modules, and induction.

`python -m saebench.lm.demo_model.evaluate` prints both for the bundled weights.
"""

import argparse
import lzma
import math

import torch

from saebench.config import CorpusConfig
from saebench.corpus import open_corpus
from saebench.corpus.documents import read_documents
from saebench.lm import LanguageModel, load_lm


@torch.no_grad()
def bits_per_byte(lm: LanguageModel, corpus: CorpusConfig, batch: int = 16) -> float:
    """Negative log-likelihood of a corpus' own tokens in bits, divided by its bytes.

    Contexts do not overlap: the first tokens of each are predicted from little, as in training.
    """
    opened = open_corpus(corpus, lm.tokenizer, lm.context_length)
    nats = n_bytes = 0.0
    for block in opened.blocks(batch):
        loss = lm.loss(torch.from_numpy(block.tokens).long())
        nats += float(loss[torch.from_numpy(~block.special[:, 1:])].double().sum())
        n_bytes += sum(map(len, block.source))
    return nats / math.log(2) / n_bytes


@torch.no_grad()
def induction_gain(lm: LanguageModel, sequences: int = 64, seed: int = 0) -> float:
    """Nats per token by which the second half of a random sequence repeated twice is easier than the first."""
    half = (lm.context_length - 1) // 2
    generator = torch.Generator().manual_seed(seed)
    random = torch.randint(1, lm.d_vocab, (sequences, half), generator=generator)
    bos = torch.full((sequences, 1), lm.tokenizer.bos_token_id)
    loss = lm.loss(torch.cat([bos, random, random], 1))
    return float(loss[:, :half].mean() - loss[:, half:].mean())


def xz_bits_per_byte(corpus: CorpusConfig) -> float:
    """What `xz -9e` needs for the same text, documents end to end."""
    text = b"".join(document.text.encode() for document in read_documents(corpus))
    return 8 * len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)) / len(text)


def main() -> None:
    """Print the figures of a model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--max-tokens", type=int)
    arguments = parser.parse_args()
    lm = load_lm(arguments.model)
    heldout = CorpusConfig(name="stdlib-heldout", max_tokens=arguments.max_tokens)
    print(f"bits per byte on held-out modules  {bits_per_byte(lm, heldout):.4f}")
    print(f"xz -9e on the same text            {xz_bits_per_byte(heldout):.4f}")
    print(f"induction gain, nats per token     {induction_gain(lm):.3f}")


if __name__ == "__main__":
    main()
