"""SHIFT: take from a classifier what it should not look at, by ablating features that a person judges irrelevant.

A probe on a language model is trained on data in which the label always agrees with something else, the confound.
Features of the model are ranked by their effect on the probe; a person marks those that have nothing to do with the
label; they are ablated while the probe's inputs are computed (Marks et al. 2024, "Sparse Feature Circuits", section 4).
"""

from saebench.circuits.shift.examples import Example, ShiftData, read_data, write_data

__all__ = ["Example", "ShiftData", "read_data", "write_data"]
