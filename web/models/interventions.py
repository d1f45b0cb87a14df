"""Interventions and unlearning runs as pages have them, as data."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from web.models.summary import FeatureSummary

KINDS = ("clamp", "clamp_prime", "guarded", "zero", "scale", "project")
"""Treatments, as `saebench.interventions.unlearning` has them."""
BASELINES = ("random", "direction", "rmu")
METHODS = ("frequency", "squares", "attribution", "list")
TreatmentKind = Literal["clamp", "clamp_prime", "guarded", "zero", "scale", "project"]
BaselineName = Literal["random", "direction", "rmu"]
Method = Literal["frequency", "squares", "attribution", "list"]


class RunSummary(BaseModel):
    """An unlearning run in one row."""

    id: str
    sae: str = ""
    forgets: list[str] = Field([], description="topics")
    method: str = ""
    forget: float | None = Field(None, description="share of the questions to forget still answered right")
    controls: float | None = Field(None, description="share of the controls still answered right")
    treatment: str = Field("", description="that was picked")
    strength: float | None = None
    picked: str = Field("", description="treatment and strength in words")
    problem: str | None = Field(None, description="what is wrong with its file; nothing else is known then")


class SavedSummary(BaseModel):
    """A set of interventions in one row."""

    id: str
    saes: list[str] = []
    n: int = Field(0, description="interventions")
    notes: str = ""
    problem: str | None = Field(None, description="what is wrong with its file; nothing else is known then")


class InterventionsPage(BaseModel):
    """The unlearning runs of a workspace, its saved interventions, and what another run can be made from."""

    workspace: str
    runs: list[RunSummary]
    saved: list[SavedSummary]
    saes: list[str] = Field(description="with weights")
    lists: list[str] = Field(description="of features")


class WantedTreatment(BaseModel):
    """A treatment and its strengths, as they are typed."""

    kind: TreatmentKind
    strengths: str = Field("1", max_length=200, description="0.5, 1, 2")


class NewUnlearning(BaseModel):
    """What is to be unlearned, and how. What is left out is as in the demo."""

    sae: str = Field(max_length=200)
    corpus: str = Field("stdlib-train", max_length=1000)
    forget: str = Field(max_length=8000, description="a topic on each line: NAME=PATTERN,… or a module's NAME")
    retain: str = Field(max_length=8000)
    method: Method = "frequency"
    list_name: str = Field("", max_length=80, description="of features; for the method list")
    n: int = Field(20, ge=1, le=4096)
    retain_below: float = Field(0.01, gt=0, le=1)
    percentile: float = Field(90, ge=0, le=100)
    treatments: list[WantedTreatment] = Field([], max_length=len(KINDS))
    sets: list[str] = Field([], max_length=20, description="saved interventions that are examined as they are")
    above: float = Field(0.5, ge=0, le=1e6)
    often: float = Field(95, ge=0, le=100)
    baselines: list[BaselineName] = Field([], max_length=len(BASELINES))
    per_topic: int = Field(120, ge=1, le=100_000)
    chosen_on: int = Field(160, ge=1, le=100_000)
    judged_on: int = Field(48, ge=1, le=100_000)
    bound: float = Field(0.99, ge=0, le=1)
    samples: int = Field(4, ge=0, le=100)
    seed: int = Field(0, ge=0, le=2**31 - 1)
    id: str = Field("", max_length=120, description="that the run gets; by default made of topics and method")


class Again(BaseModel):
    """The same run with features that somebody chose: they are put on a list."""

    features: list[int] = Field(min_length=1, max_length=1000)
    list_name: str = Field("", max_length=80, description="a new list; by default named after the run")
    id: str = Field("", max_length=120)


class Documents(BaseModel):
    """The documents of a corpus that a topic's patterns match."""

    topic: str
    patterns: list[str]
    n: int
    of: int = Field(description="documents of the corpus")
    names: list[str] = Field(description="the first of them")


class CandidateRow(BaseModel):
    """A chosen feature with what speaks for and against it."""

    feature: FeatureSummary
    indexed: bool = Field(description="whether its page can be shown")
    scores: dict[str, float]
    unit: float = Field(description="root mean square activation where it fires in the text to forget")
    forget_density: float | None
    retain_density: float | None
    loss_added: float | None
    changes: int = Field(description="forget questions that it alone turns from right to wrong")


class RunScores(BaseModel):
    """Headline figures of a run."""

    id: str
    treatment: str
    strength: float
    picked: str = Field(description="treatment and strength in words")
    keeps_controls: bool
    forget: float
    controls: float
    ce_added: float | None
    kl: float | None
    saebench: float | None


class RunsCompared(BaseModel):
    """Two unlearning runs side by side."""

    runs: list[str] = Field(description="what can be compared")
    a: str | None
    b: str | None
    scores: list[RunScores] = Field([], description="of both; empty: nothing to compare")
    shared: list[FeatureSummary] = Field([], description="features treated in both")
    only_a: list[FeatureSummary] = []
    only_b: list[FeatureSummary] = []


class SavedPage(BaseModel):
    """A set of interventions, and the same in words."""

    id: str
    notes: str
    saes: dict[str, str] = Field(description="ids of SAEs by the names that the interventions use")
    problems: list[str] = Field(description="why it cannot be applied now")
    interventions: list["InterventionLine"]
    run: str | None = Field(description="the unlearning run that it is from")
    kept: dict[str, Any] = Field(description="the set as it is kept")


class InterventionLine(BaseModel):
    """An intervention in words."""

    kind: str
    label: str = Field(description="the kind's readable name")
    does: str
    sae: str
    features: list[int]
    where: str = Field(description="on which tokens and on which condition; empty: everywhere")


class SavedChange(BaseModel):
    """What becomes of a set: what is left out stays."""

    id: str | None = Field(None, min_length=1, max_length=120)
    notes: str | None = Field(None, max_length=10_000)


class SavedImport(BaseModel):
    """A set of interventions as a file has it."""

    text: str = Field(max_length=200_000)
    id: str = Field("", max_length=120, description="that it gets; by default its own")


class SavedSteering(BaseModel):
    """Features added with strengths, to be kept under a name."""

    id: str = Field(min_length=1, max_length=120)
    features: str = Field(max_length=4000, description="12:4,33:-2 (feature:strength in its own maxima)")
    sae: str | None = Field(None, max_length=200)
    corpus: str | None = Field(None, max_length=200)
    notes: str = Field("", max_length=10_000)
