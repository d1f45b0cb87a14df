"""All scores of an SAE against a synthetic model in one pass over held-out activations."""

from dataclasses import dataclass

import torch

from saebench.evaluation.moments import Moments
from saebench.evaluation.synthetic.detection import Detection
from saebench.evaluation.synthetic.model import SyntheticModel
from saebench.evaluation.synthetic.recovery import mean_matched_cosine, nearest_feature, uniqueness
from saebench.saes import SAE


@dataclass(frozen=True)
class SyntheticScores:
    """Scores of one SAE; definitions are SynthSAEBench's but for shrinkage.

    Attributes:
        f1: mean over latents of the F1 with which a latent detects its nearest feature; dead latents count 0.
        precision, recall: means over latents, likewise.
        mcc: mean |cos| of decoder rows matched one to one with true directions.
        uniqueness: share of the latents left when each feature keeps one of those nearest to it.
        explained_variance: 1 − FVU on the held-out activations.
        relative_bias: shrinkage, E‖x̂‖² / E⟨x, x̂⟩; 1 is none.
        l0: active latents per token.
        true_l0: active features per token.
        dead: share of the latents that never fired.
        tokens: held-out tokens measured.
    """

    f1: float
    precision: float
    recall: float
    mcc: float
    uniqueness: float
    explained_variance: float
    relative_bias: float
    l0: float
    true_l0: float
    dead: float
    tokens: int


@torch.no_grad()
def score(sae: SAE, model: SyntheticModel, tokens: int = 65_536) -> SyntheticScores:
    """Score an SAE as it serves (`sae.eval()`) on at least `tokens` held-out activations; its mode is restored."""
    learned = sae.W_dec.detach()
    detection = Detection(nearest_feature(learned, model.directions))
    moments = Moments(model.d_model)
    active = real = 0
    training = sae.training
    sae.eval()
    try:
        for x, truth in model.held_out(tokens):
            codes, reconstruction = sae.reconstruct(x)
            detection.add(codes, truth)
            moments.add(x, reconstruction)
            active += len(codes.positive().values)
            real += len(truth.values)
    finally:
        sae.train(training)
    return SyntheticScores(
        f1=float(detection.f1.mean()),
        precision=float(detection.precision.mean()),
        recall=float(detection.recall.mean()),
        mcc=mean_matched_cosine(learned, model.directions),
        uniqueness=uniqueness(learned, model.directions),
        explained_variance=1 - moments.fvu,
        relative_bias=moments.relative_bias,
        l0=active / moments.rows,
        true_l0=real / moments.rows,
        dead=detection.dead,
        tokens=moments.rows,
    )
