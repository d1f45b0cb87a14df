"""Training SAEs: the shuffle ring, the loop, checkpoints."""

from saebench.training.config import SAEConfig, TrainConfig
from saebench.training.loop import train, train_all
from saebench.training.ring import BlockSource, Ring

__all__ = ["BlockSource", "Ring", "SAEConfig", "TrainConfig", "train", "train_all"]
