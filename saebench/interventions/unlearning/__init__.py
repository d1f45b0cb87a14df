"""Unlearning: take topics from a model by its features, and say what else it costs."""

from saebench.interventions.unlearning.config import ChoosingConfig, Treatment, UnlearnConfig
from saebench.interventions.unlearning.material import divide
from saebench.interventions.unlearning.result import (
    UnlearningResult,
    delete_result,
    read_result,
    result_ids,
    write_result,
)
from saebench.interventions.unlearning.run import unlearn

__all__ = [
    "ChoosingConfig",
    "Treatment",
    "UnlearnConfig",
    "UnlearningResult",
    "delete_result",
    "divide",
    "read_result",
    "result_ids",
    "unlearn",
    "write_result",
]
