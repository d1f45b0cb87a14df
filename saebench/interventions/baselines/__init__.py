"""What features must beat: ablating one direction, and fine-tuning (RMU). Random features: `choosing.random_like`."""

from saebench.interventions.baselines.direction import ablated, difference_of_means
from saebench.interventions.baselines.rmu import RMUConfig, rmu

__all__ = ["RMUConfig", "ablated", "difference_of_means", "rmu"]
