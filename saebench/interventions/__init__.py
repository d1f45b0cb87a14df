"""Interventions: change what a feature writes into a language model while it runs.

from saebench.interventions import Add, Hooked, generate, intervened

saes = {"demo": Hooked(SAE.load(folder), "blocks.2.hook_resid_post")}
with intervened(lm, [Add(sae="demo", feature=12, activation=8.0)], saes):
    print(lm.tokenizer.decode(generate(lm, prompt, n_tokens=40).tokens))
"""

from saebench.interventions.apply import Hooked, intervened
from saebench.interventions.generation import Generated, generate
from saebench.interventions.kinds import (
    Add,
    AnyIntervention,
    Cap,
    CapProjection,
    Clamp,
    ClampActive,
    Intervention,
    Project,
    Scale,
    Zero,
)
from saebench.interventions.where import Condition, Fires, Often, Tokens

__all__ = [
    "Add",
    "AnyIntervention",
    "Cap",
    "CapProjection",
    "Clamp",
    "ClampActive",
    "Condition",
    "Fires",
    "Generated",
    "Hooked",
    "Intervention",
    "Often",
    "Project",
    "Scale",
    "Tokens",
    "Zero",
    "generate",
    "intervened",
]
