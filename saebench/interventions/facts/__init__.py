"""Unlearning where the truth is known: two disjoint sets of facts that one small model knows by heart."""

from saebench.interventions.facts.facts import Facts, FactsConfig, make_facts
from saebench.interventions.facts.model import FactModelConfig, train_fact_model
from saebench.interventions.facts.sae import sae_config, train_fact_sae
from saebench.interventions.facts.score import Halves, Scored, halves, questions, right, score

__all__ = [
    "FactModelConfig",
    "Facts",
    "FactsConfig",
    "Halves",
    "Scored",
    "halves",
    "make_facts",
    "questions",
    "right",
    "sae_config",
    "score",
    "train_fact_model",
    "train_fact_sae",
]
