"""Training SAEs: the shuffle ring, the loop, checkpoints."""

from saebench.training.config import SAEConfig, TopKConfig, TrainConfig
from saebench.training.loop import train
from saebench.training.ring import BlockSource, Ring

__all__ = ["BlockSource", "Ring", "SAEConfig", "TopKConfig", "TrainConfig", "train"]
