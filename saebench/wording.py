"""What treatments, baselines and kinds of intervention are called where people read them: on pages, in tables, in the
documentation. Recipes and files have the names on the left. Imports nothing, so that pages need no torch for it.
"""

from typing import NamedTuple


class Named(NamedTuple):
    """A readable name, and what becomes of an activation f; s is the strength in units of the feature."""

    label: str
    does: str


TREATMENTS = {
    "clamp": Named("clamp where active", "−s wherever it fires"),
    "clamp_prime": Named("clamp prime", "−s where it fires above a bound"),
    "guarded": Named("guarded clamp", "−s wherever it fires, in texts in which the features fire often"),
    "zero": Named("zero", "0; it has no strength"),
    "scale": Named("scale", "(1 − s) f"),
    "project": Named("project out", "what lies along its decoder row, times 1 − s"),
}
"""Of the features that a run has chosen; `saebench.interventions.unlearning`."""
BASELINES = {
    "random": Named("random features", "as many others that fire as often, treated by the first treatment"),
    "direction": Named("difference of means", "the direction between the two texts, taken away s times"),
    "rmu": Named("RMU", "weights fine-tuned to misdirect; its strength is the steering coefficient"),
}
KINDS = {
    "add": Named("add", "f + a at every token"),
    "scale": Named("scale", "a f"),
    "clamp": Named("clamp everywhere", "a at every token"),
    "clamp_active": Named("clamp where active", "a where it fires above a bound"),
    "zero": Named("zero", "0"),
    "cap": Named("cap", "a at most"),
    "project": Named("project out", "what lies along its decoder row, times a"),
    "cap_projection": Named("cap the projection", "what lies along its decoder row, a at most"),
}
"""`saebench.interventions.kinds`; a is the intervention's own number."""


SET = "set"
"""Of saved sets of interventions that a run examines as they are."""


def set_name(name: str) -> str:
    """What a set is called among the treatments of a run."""
    return f"{SET}:{name}"


def named(name: str) -> Named:
    """What a treatment, a baseline or a set is called. Raises KeyError where it is none."""
    kind, _, own = name.partition(":")
    if kind == SET:
        return Named(own, "saved interventions as they are")
    return {**TREATMENTS, **BASELINES}[name]


def label(name: str) -> str:
    """The readable name of a treatment, a baseline or a set."""
    return named(name).label


def strength_of(name: str, strength: float) -> str:
    """A strength as people read it; nothing where a treatment has none."""
    return "" if name == "zero" or name.startswith(f"{SET}:") else f"{strength:g}"


def treated(name: str, strength: float) -> str:
    """A treatment or baseline and its strength in words."""
    said = strength_of(name, strength)
    return f"{label(name)}, strength {said}" if said else label(name)


def spared(n: int, bound: float) -> str:
    """What a bound on the share of n controls that are kept forgives, as the end of a clause about it."""
    lost = max(k for k in range(n + 1) if k == 0 or (n - k) / n >= bound)
    if lost:
        return f" (of {n} controls {lost} may be lost)"
    return f" (with {n} controls that is all of them)" if bound < 1 else ""


def kind_label(kind: str, *, above: float = 0.0, often: bool = False) -> str:
    """The readable name of an intervention, the same as that of the treatment which makes such ones.

    Args:
        kind: the intervention's.
        above: of a `clamp_active`, the bound that the activation must exceed.
        often: whether it happens only in texts in which features fire often.
    """
    if kind == "clamp_active" and often:
        return TREATMENTS["guarded"].label
    if kind == "clamp_active" and above > 0:
        return TREATMENTS["clamp_prime"].label
    return KINDS[kind].label
