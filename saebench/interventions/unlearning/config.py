"""What an unlearning run can be told."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from saebench.config import CorpusConfig, Section
from saebench.interventions.baselines import RMUConfig
from saebench.interventions.kinds import AnyIntervention
from saebench.interventions.questions import BuildConfig


def _usable(strengths: tuple[float, ...]) -> tuple[float, ...]:
    if any(not 0 <= strength < 1e6 for strength in strengths):
        raise ValueError("strengths are numbers from 0 to a million")
    if len(set(strengths)) < len(strengths):
        raise ValueError("a strength is there twice")
    return strengths


Strengths = Annotated[tuple[float, ...], Field(min_length=1), AfterValidator(_usable)]
Topics = dict[str, tuple[str, ...]]
Kind = Literal["clamp", "clamp_prime", "guarded", "zero", "scale", "project"]
Baseline = Literal["random", "direction", "rmu"]


class ChoosingConfig(Section):
    """How features are chosen."""

    method: Literal["frequency", "squares", "attribution", "list"] = Field(
        "frequency", description="B of Farrell et al., C of DSG, A of Farrell et al., or a list of the workspace"
    )
    n: int = Field(20, ge=1, description="features, at most")
    retain_below: float = Field(0.01, gt=0, le=1, description="frequency: density on the text to retain, less than")
    percentile: float = Field(90, ge=0, le=100, description="squares: of all features' ratios, kept from there on")
    tried_per_question: int = Field(20, ge=1, description="attribution: features looked at for every question")
    list: str | None = Field(None, description="the list of the workspace that holds the features")

    @model_validator(mode="after")
    def _named(self) -> "ChoosingConfig":
        if (self.method == "list") != (self.list is not None):
            raise ValueError("method list wants the name of a list, the other methods none")
        return self


class Treatment(Section):
    """One way to intervene on the chosen features, at several strengths.

    A feature's unit is its root mean square activation where it fires in the text to forget.
    """

    kind: Kind = Field(
        "clamp",
        description="clamp: to -strength units where it fires (Farrell et al.); clamp_prime: only where it fires above "
        "`above` units; guarded: only in texts where the features fire often (DSG); zero; scale: by 1 - strength; "
        "project: the span of the decoder rows by 1 - strength",
    )
    strengths: Strengths = Field((1, 2, 4, 8), description="what is tried; zero has none and is tried once")
    above: float = Field(
        0.5, ge=0, allow_inf_nan=False, description="clamp_prime: units that the activation must exceed"
    )
    percentile: float = Field(95, ge=0, le=100, description="guarded: of retained texts, that fire less often")

    @model_validator(mode="before")
    @classmethod
    def _zero_once(cls, data: Any) -> Any:
        return data | {"strengths": (1,)} if isinstance(data, dict) and data.get("kind") == "zero" else data


class UnlearnConfig(Section):
    """What is to be forgotten, what kept, how, and how it is judged. The defaults are the demo's."""

    corpus: CorpusConfig = Field(CorpusConfig(), description="text that has the topics")
    forget: Topics = Field(
        {"tkinter": ("tkinter/*", "idlelib/*", "turtle.py", "turtledemo/*")},
        min_length=1,
        description="documents to forget, by topic: patterns of their names",
    )
    retain: Topics = Field(
        {
            "unittest": ("unittest/*",),
            "xml": ("xml/*",),
            "http": ("http/*", "urllib/*"),
            "logging": ("logging/*",),
            "distutils": ("distutils/*",),
        },
        min_length=1,
        description="documents to keep, by topic",
    )
    questions: BuildConfig = Field(BuildConfig(per_topic=80, document_tokens=2048), description="made from the corpus")
    choose: ChoosingConfig = ChoosingConfig()
    treatments: tuple[Treatment, ...] = Field(
        (
            Treatment(),
            Treatment(kind="clamp_prime", strengths=(2, 4, 8)),
            Treatment(kind="guarded", strengths=(2, 4, 8)),
            Treatment(kind="zero"),
            Treatment(kind="project", strengths=(1, 2, 4)),
        ),
    )
    sets: dict[str, tuple[AnyIntervention, ...]] = Field(
        {}, description="interventions that are examined as they are, by name; their SAEs by id"
    )
    baselines: tuple[Baseline, ...] = ("random", "direction", "rmu")
    direction_strengths: Strengths = Field((1, 2, 4), description="1 takes it away")
    rmu: RMUConfig = Field(RMUConfig(layer=2, c=60, alpha=20, lr=1e-3, steps=100))
    chosen_on: int = Field(160, ge=1, description="contexts of text to forget, and to retain, that choose features")
    judged_on: int = Field(16, ge=1, description="contexts of retained, and of neutral text, that judge")
    document_characters: int = Field(4000, ge=1, description="of a document's text, at most: many are to be read")
    bound: float = Field(0.99, ge=0, le=1, description="controls still right, at least, of the strength that is chosen")
    samples: int = Field(4, ge=0, description="prompts of either side that are continued before and after")
    sample_tokens: int = Field(24, ge=1, description="tokens of a continuation")
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _apart(self) -> "UnlearnConfig":
        both = self.forget.keys() & self.retain.keys()
        if both:
            raise ValueError(f"topic {sorted(both)[0]!r} is both to be forgotten and kept")
        if not self.treatments and not self.sets:
            raise ValueError("no treatment is given and no set of interventions; give one at least")
        empty = next((name for name, interventions in self.sets.items() if not interventions), None)
        if empty is not None:
            raise ValueError(f"set {empty!r} has no intervention")
        kinds = [treatment.kind for treatment in self.treatments]
        if len(set(kinds)) < len(kinds):
            raise ValueError("a kind of treatment is there twice; give it more strengths instead")
        return self
