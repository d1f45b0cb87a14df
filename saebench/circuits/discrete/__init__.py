"""Circuits of attention heads from discrete codes (O'Neill & Bui 2024, "Sparse autoencoders enable scalable and
reliable circuit identification in language models"): no gradients and no patching, one pass over the prompts.

What it can see: a head stands out if, pooled over the positions, it writes something after clean prompts that it never
writes after patched ones. A head that only writes the same things elsewhere is invisible to the mean (that of the
previous token, where two words changed places); and one that copies words which nobody reads looks like one that
matters.

from saebench.circuits.discrete import harvest, identify
"""

from saebench.circuits.discrete.codes import Settings, fit, head_codes
from saebench.circuits.discrete.identification import Identified, harvest, identify
from saebench.circuits.discrete.outputs import head_outputs
from saebench.circuits.discrete.scores import edge_counts, node_counts, softmax

__all__ = [
    "Identified",
    "Settings",
    "edge_counts",
    "fit",
    "harvest",
    "head_codes",
    "head_outputs",
    "identify",
    "node_counts",
    "softmax",
]
