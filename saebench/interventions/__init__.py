"""Interventions: change what features write into a language model while it runs.

from saebench.interventions import Add, generate, intervened, open_saes

lm, saes = open_saes("workspace")
with intervened(lm, [Add(sae="demo.blocks.2.hook_resid_post.topk-4096-k32", feature=12, activation=8.0)], saes):
    print(lm.tokenizer.decode(generate(lm, "def read(", n_tokens=40).tokens))
"""

from saebench.interventions.apply import Hooked, intervened
from saebench.interventions.comparison import Next, compare_next
from saebench.interventions.generation import Generated, generate, prompt_tokens
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
from saebench.interventions.opened import OpenedInterventions, make_set, open_interventions, open_saes
from saebench.interventions.sets import (
    InterventionSet,
    delete_interventions,
    read_interventions,
    write_interventions,
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
    "InterventionSet",
    "Next",
    "Often",
    "OpenedInterventions",
    "Project",
    "Scale",
    "Tokens",
    "Zero",
    "compare_next",
    "delete_interventions",
    "generate",
    "intervened",
    "make_set",
    "open_interventions",
    "open_saes",
    "prompt_tokens",
    "read_interventions",
    "write_interventions",
]
