"""A model that stands under another's weights for a while, so that fine-tuning is judged as interventions are."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from saebench.lm import LanguageModel


@contextmanager
def weights_of(lm: LanguageModel, other: LanguageModel) -> Iterator[None]:
    """While inside, passes of `lm.run` compute with the weights of `other`, a fine-tuned copy of it.

    Only passes without hook points do: they alone go through transformers' own modules in every case.
    """
    theirs = dict(other.plain.named_parameters())
    own = {name: parameter.data for name, parameter in lm.plain.named_parameters()}
    try:
        with torch.no_grad():
            for name, parameter in lm.plain.named_parameters():
                parameter.data = theirs[name].data.to(parameter.device, parameter.dtype)
        yield
    finally:
        for name, parameter in lm.plain.named_parameters():
            parameter.data = own[name]
