"""Truth that needs no language model: activations with known features, and how well they are found again.

`SyntheticModel` generates them, `score` measures an SAE; the smaller functions serve other dictionaries as well. The
masked-sparse-coding experiment and its orthogonal matching pursuit stand on their own.
"""

from saebench.evaluation.moments import Moments
from saebench.evaluation.synthetic.detection import Detection
from saebench.evaluation.synthetic.directions import overlap, random_directions, spread
from saebench.evaluation.synthetic.firing import zipf_probabilities
from saebench.evaluation.synthetic.hierarchy import Forest
from saebench.evaluation.synthetic.masked_coding import fit_dictionary, nearest_cosine_distance, noisy_signals
from saebench.evaluation.synthetic.model import SyntheticConfig, SyntheticModel
from saebench.evaluation.synthetic.pursuit import pursue
from saebench.evaluation.synthetic.recovery import mean_matched_cosine, nearest_feature, uniqueness
from saebench.evaluation.synthetic.scores import SyntheticScores, score

__all__ = [
    "Detection",
    "Forest",
    "Moments",
    "SyntheticConfig",
    "SyntheticModel",
    "SyntheticScores",
    "fit_dictionary",
    "mean_matched_cosine",
    "nearest_cosine_distance",
    "nearest_feature",
    "noisy_signals",
    "overlap",
    "pursue",
    "random_directions",
    "score",
    "spread",
    "uniqueness",
    "zipf_probabilities",
]
