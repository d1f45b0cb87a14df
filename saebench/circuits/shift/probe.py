"""The classifier: logistic regression on the mean of what one hook point holds over the tokens of a text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.circuits.shift.ablate import at_probe
from saebench.circuits.shift.examples import GROUPS, ShiftData
from saebench.circuits.shift.result import Score
from saebench.circuits.shift.texts import Texts
from saebench.lm import LanguageModel
from saebench.lm.edit import Change

REGULARISATION = 0.01
"""scikit-learn's C on standardised inputs: texts are few beside the width of a model."""


@dataclass(frozen=True)
class Probe:
    """A linear classifier: the logit of label 1 is weight · mean + bias."""

    hook_point: str
    weight: Float[Tensor, " width"]
    bias: float

    def logits(self, pooled: Float[Tensor, "examples width"]) -> Float[Tensor, " examples"]:
        """Logits (nats) of label 1."""
        return pooled @ self.weight + self.bias

    def of(
        self, lm: LanguageModel, texts: Texts, changes: Mapping[str, Change] | None = None
    ) -> Float[Tensor, " examples"]:
        """Logits of texts in a pass that `changes` change; can be differentiated through them."""
        return self.logits(at_probe(lm, texts, self.hook_point, changes or {}))


def fit(hook_point: str, pooled: Float[Tensor, "examples width"], labels: Int[np.ndarray, " examples"]) -> Probe:
    """Logistic regression on standardised inputs, written as one on the inputs themselves."""
    from sklearn.linear_model import LogisticRegression

    mean, deviation = pooled.mean(0), pooled.std(0).clamp_min(1e-6)
    model = LogisticRegression(C=REGULARISATION, max_iter=2000)
    model.fit(((pooled - mean) / deviation).numpy(), labels)
    weight = torch.from_numpy(model.coef_[0]).float() / deviation
    return Probe(hook_point, weight, float(model.intercept_[0]) - float(weight @ mean))


def judged(
    probe: Probe,
    pooled: Float[Tensor, "examples width"],
    labels: Int[np.ndarray, " examples"],
    confounds: Int[np.ndarray, " examples"],
    data: ShiftData,
) -> Score:
    """How often a probe says the label, how often the confound, and how often the label in each combination."""
    said = (probe.logits(pooled) > 0).numpy().astype(int)
    right = said == labels
    groups = {
        data.group_name(label, confound): float(right[(labels == label) & (confounds == confound)].mean())
        for label, confound in GROUPS
    }
    return Score(label=float(right.mean()), confound=float((said == confounds).mean()), groups=groups)


def column(values: Sequence[int]) -> Int[np.ndarray, " examples"]:
    """Labels or confounds as an array."""
    return np.array(values, dtype=int)
