"""Fluent dreaming: prompts that maximise a feature, along the frontier of how likely they are as text.

Evolutionary Prompt Optimization (EPO; Thompson, Straznickas & Sklar 2024, "Fluent dreaming for language models",
arXiv:2402.01702): `epo` is the search, `frontier` what is reported of it, `target` what is maximised, `prompts` how a
language model scores prompts, `windows` the corpus examples that a dream is compared with, `dream` all of it.
"""

from saebench.interventions.dreaming.config import DreamConfig
from saebench.interventions.dreaming.dream import dream
from saebench.interventions.dreaming.windows import Window, best_windows

__all__ = ["DreamConfig", "Window", "best_windows", "dream"]
