"""What came of an unlearning run: `unlearning/<id>.json` in a workspace, each whole or not there;
`unlearning/.work/<id>/` holds what an unfinished run has done so far."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from saebench.interventions.choosing import Candidate
from saebench.interventions.kinds import AnyIntervention
from saebench.interventions.scores import DosePoint, Scores, UnlearningScore
from saebench.interventions.scores.side_effects import Flip, TokenChange, TopicChange
from saebench.interventions.unlearning.config import UnlearnConfig
from saebench.shelf import Shelf


class Plain(BaseModel):
    """Data: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Curve(Plain):
    """One treatment or baseline at all of its strengths.

    Attributes:
        name: the kind of the treatment, the baseline's, or that of a set of interventions (`wording.set_name`).
        baseline: whether it is one.
        points: rising in strength.
        best: number of the point that forgets most among those that keep the controls; None where none does.
    """

    name: str
    baseline: bool
    points: tuple[DosePoint, ...]
    best: int | None


class NextToken(Plain):
    """A token that may come next, and its probability before and after."""

    text: str
    before: float
    after: float


class Sample(Plain):
    """A prompt continued before and after, greedily.

    Attributes:
        topic: of the question that the prompt is from.
        forget: whether that is to be forgotten.
        answer: what the question asks for.
        tokens: texts of the prompt's tokens.
        moved: by how much each was changed where the features are: |x' − x| / |x|, of several hook points the largest;
            0 where nothing happened.
        before: continuation of the plain model; after: under the interventions.
        kl: KL(before ‖ after) of the next token, nats.
        next: the likeliest next tokens.
    """

    topic: str
    forget: bool
    answer: str
    tokens: tuple[str, ...]
    moved: tuple[float, ...]
    before: str
    after: str
    kl: float
    next: tuple[NextToken, ...]


class SideEffects(Plain):
    """What else the chosen interventions change.

    Attributes:
        topics: accuracy by topic, before and after.
        flips: questions that turned.
        tokens: tokens of the neutral text whose prediction changed most.
    """

    topics: tuple[TopicChange, ...]
    flips: tuple[Flip, ...]
    tokens: tuple[TokenChange, ...]


class Picked(Plain):
    """The treatment and strength that the rest is about.

    Attributes:
        treatment: its kind, or the name of a set's curve.
        strength: of the dose curve; a set has none.
        keeps_controls: whether it is within the bound; if no strength of any treatment is, it is the one that gains
            most: controls kept minus forget questions still right.
        interventions: as values, to be applied again.
        scores: its own.
    """

    treatment: str
    strength: float
    keeps_controls: bool
    interventions: tuple[AnyIntervention, ...]
    scores: Scores


class UnlearningResult(Plain):
    """An unlearning run, whole.

    Attributes:
        id: its name.
        sae: whose features are treated.
        hook_point: where.
        config: how it was made.
        questions: (forget, controls) that judged it.
        candidates: the features, best first, with the evidence.
        units: root mean square activation of each where it fires, in the SAE's units.
        often: share of a text's tokens on which any must fire for a guarded treatment to act; None where there is none,
            and in results of before it was kept.
        curves: treatments, then baselines.
        saebench: SAEBench's score over its grid, of the same questions; None where it was not asked for.
        picked: the intervention that samples and side effects are of.
        side_effects, samples: see there.
        provenance: model, SAE, questions, code.
    """

    id: str
    sae: str
    hook_point: str
    config: UnlearnConfig
    questions: tuple[int, int]
    candidates: tuple[Candidate, ...]
    units: tuple[float, ...]
    often: float | None = None
    curves: tuple[Curve, ...]
    saebench: UnlearningScore | None
    picked: Picked
    side_effects: SideEffects
    samples: tuple[Sample, ...]
    provenance: dict[str, Any]


_SHELF = Shelf("unlearning", UnlearningResult, "unlearning run", "no unlearning run: {}; delete it and run again")


def result_path(workspace: Path, result_id: str) -> Path:
    """The file of a result. Raises StoreError for an id that can name none."""
    return _SHELF.path(workspace, result_id)


def work_folder(workspace: Path, result_id: str) -> Path:
    """Where a run keeps what it has done so far. Raises StoreError for an id that can name none."""
    return _SHELF.work(workspace, result_id)


def work_ids(workspace: Path) -> list[str]:
    """The unfinished runs of a workspace, sorted."""
    return _SHELF.work_ids(workspace)


def result_ids(workspace: Path) -> list[str]:
    """The results of a workspace, sorted."""
    return _SHELF.ids(workspace)


def read_result(workspace: Path, result_id: str) -> UnlearningResult:
    """A result of a workspace.

    Raises:
        UserError: there is none of this name, or its file is damaged.
        StoreError: an id that can name none.
    """
    return _SHELF.read(workspace, result_id)


def write_result(workspace: Path, result: UnlearningResult) -> Path:
    """Keep a result under its id, instead of one that is there. Raises UserError where it cannot be written."""
    return _SHELF.write(workspace, result.id, result)


def delete_result(workspace: Path, result_id: str) -> None:
    """Take a result away for good, damaged or not. The interventions that it saved stay, and so does what an unfinished
    run of its name has done so far.

    Raises:
        UserError: there is none of this name, or it cannot be removed.
        StoreError: an id that can name none.
    """
    _SHELF.delete(workspace, result_id)
