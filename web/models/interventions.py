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
InterventionKind = Literal["add", "scale", "clamp", "clamp_active", "zero", "cap", "project", "cap_projection"]


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


class KeptPoint(BaseModel):
    """What a treatment did at one of its strengths, to be kept as a set of interventions."""

    treatment: TreatmentKind
    strength: float = Field(ge=0, lt=1e6)
    id: str = Field("", max_length=120, description="of the set; by default RUN.TREATMENT.STRENGTH")


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
    questions: tuple[int, int] = Field(description="to forget, and controls, that judged it")
    forget: float
    controls: float
    ce_added: float | None
    kl: float | None
    saebench: float | None = Field(description="over SAEBench's own grid, whatever was picked")


class RunsCompared(BaseModel):
    """Two unlearning runs side by side."""

    runs: list[str] = Field(description="what can be compared")
    a: str | None
    b: str | None
    scores: list[RunScores] = Field([], description="of both; empty: nothing to compare")
    differs: list[str] = Field([], description="what they were judged by and is not the same; empty: all is")
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
    others: list[str] = Field(description="sets that it can be compared with")
    kept: dict[str, Any] = Field(description="the set as it is kept")


class InterventionLine(BaseModel):
    """An intervention in words."""

    kind: str
    label: str = Field(description="the kind's readable name")
    does: str
    sae: str
    features: list[int]
    where: str = Field(description="on which tokens and on which condition; empty: everywhere")


class SetSide(BaseModel):
    """A set of interventions among two."""

    id: str
    n: int = Field(description="interventions")
    features: int = Field(description="that they act on")
    saes: list[str]
    notes: str


class FeatureUnderTwo(BaseModel):
    """A feature, and what either set does to it, in order."""

    feature: FeatureSummary
    a: list[str]
    b: list[str]


class SetsCompared(BaseModel):
    """Two sets of interventions side by side."""

    sets: list[str] = Field(description="what can be compared")
    a: str | None
    b: str | None
    sides: list[SetSide] = Field([], description="both; empty: nothing to compare")
    different: list[FeatureUnderTwo] = Field([], description="features to which they do different things")
    same: list[FeatureUnderTwo] = Field([], description="features to which they do the same")


class Versus(BaseModel):
    """A prompt as the model continues it, and under each of two sets of interventions; lists are in this order."""

    a: str
    b: str
    text: str
    tokens: int = Field(description="how many were to be generated")
    temperature: float
    seed: int
    generated: list[str]
    moved: list[list[float]] = Field(
        description="by how much each token of prompt and continuation is changed where they act, |x' − x| / |x|"
    )
    next: list["NextOfThree"] = Field(description="the likeliest behind the prompt, by the largest of the three")
    divergences: list[float] = Field(description="nats, KL(plain ‖ under the set), of both sets")


class NextOfThree(BaseModel):
    """A token that may follow the prompt."""

    token: str
    shares: list[float]


class SavedChange(BaseModel):
    """What becomes of a set: what is left out stays."""

    id: str | None = Field(None, min_length=1, max_length=120)
    notes: str | None = Field(None, max_length=10_000)


class Saved(BaseModel):
    """A set that is kept now."""

    id: str


class SavedImport(BaseModel):
    """A set of interventions as a file has it."""

    text: str = Field(max_length=200_000)
    id: str = Field("", max_length=120, description="that it gets; by default its own")


class WantedIntervention(BaseModel):
    """An intervention as it is typed: the same done to each of its features."""

    kind: InterventionKind
    sae: str = Field(max_length=200)
    features: str = Field(max_length=8000, description="12, 33")
    amount: float | None = Field(None, ge=-1e9, le=1e9, description="activation or factor; none for zero")
    maxima: bool = Field(False, description="activations are in each feature's maximum in the index")
    above: float = Field(0, ge=0, le=1e9, description="clamp_active: what the activation must exceed")
    when: Literal["always", "fires", "often"] = "always"
    when_sae: str = Field("", max_length=200, description="whose features decide; none: the same")
    when_features: str = Field("", max_length=8000, description="which decide; none: its own")
    when_above: float = Field(0, ge=0, le=1e9)
    share: float = Field(0.05, ge=0, le=1, description="often: of a text's tokens, more than")
    start: int = Field(0, ge=0, le=10**9, description="first position")
    stop: int | None = Field(None, ge=1, le=10**9, description="first position that is left out")
    special: bool = Field(False, description="begin and end tokens too")


class ComposedSet(BaseModel):
    """Interventions in the order in which they happen."""

    id: str = Field(min_length=1, max_length=120)
    notes: str = Field("", max_length=10_000)
    interventions: list[WantedIntervention] = Field(min_length=1, max_length=500)


class ComposePage(BaseModel):
    """A set of interventions to be changed, or one that is not there yet."""

    workspace: str
    id: str | None = Field(description="that is changed; null: a new one is made")
    notes: str
    saes: list[str] = Field(description="that can be intervened with")
    rows: list[WantedIntervention]


class SavedSteering(BaseModel):
    """Features added with strengths, to be kept under a name."""

    id: str = Field(min_length=1, max_length=120)
    features: str = Field(max_length=4000, description="12:4,33:-2 (feature:strength in its own maxima)")
    sae: str | None = Field(None, max_length=200)
    corpus: str | None = Field(None, max_length=200)
    notes: str = Field("", max_length=10_000)
