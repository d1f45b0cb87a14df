"""Training SAEs: the shuffle ring, the loop, checkpoints."""

from saebench.training.config import SAEConfig, TrainConfig
from saebench.training.folder import last_metrics
from saebench.training.loop import train, train_all
from saebench.training.ring import BlockSource, Ring

__all__ = ["BlockSource", "Ring", "SAEConfig", "TrainConfig", "last_metrics", "train", "train_all"]
