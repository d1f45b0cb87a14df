"""The whole of an unlearning run: questions → features → treatments and baselines → scores → what else changed.

Decisions: every topic's documents are divided; one half chooses features (and trains baselines), the other judges. A
run that is stopped goes on where it was: questions, candidates and every point of a curve are kept as they are made.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import saebench
from saebench.errors import UserError
from saebench.interventions.apply import Hooked, intervened
from saebench.interventions.baselines import ablated, difference_of_means, rmu
from saebench.interventions.baselines.rmu import check_layer
from saebench.interventions.baselines.weights import weights_of
from saebench.interventions.choosing import Candidate, by_frequency, firings_on
from saebench.interventions.kinds import ClampActive, Intervention
from saebench.interventions.opened import open_on
from saebench.interventions.questions import QuestionSet, ask, build_questions, read_questions, write_questions
from saebench.interventions.scores import (
    Cell,
    DosePoint,
    Grid,
    Row,
    UnlearningScore,
    accuracy,
    dose_response,
    run_grid,
    scores,
    unlearning_score,
)
from saebench.interventions.scores.side_effects import check_often
from saebench.interventions.unlearning import selection
from saebench.interventions.unlearning.config import Treatment, UnlearnConfig
from saebench.interventions.unlearning.evidence import samples, side_effects
from saebench.interventions.unlearning.material import Divided, Material, gather
from saebench.interventions.unlearning.result import Curve, Picked, UnlearningResult
from saebench.interventions.unlearning.treatments import Chosen, interventions
from saebench.lm import LanguageModel
from saebench.tracking import Track, silent
from saebench.wording import set_name
from saebench.work import kept, opened_work
from store import FeatureStore, Firings

RMU = "rmu"
AS_IT_IS = 1.0
"""The strength of a set of interventions, which has none."""


class Candidates(BaseModel):
    """Candidates as a piece of work."""

    rows: tuple[Candidate, ...]


class Run:
    """Everything that a run works with; the work folder is open."""

    def __init__(
        self,
        lm: LanguageModel,
        sae: str,
        hooked: Hooked,
        config: UnlearnConfig,
        divided: Divided,
        workspace: Path,
        work: Path,
        track: Track,
    ) -> None:
        self.lm, self.sae, self.hooked, self.config = lm, sae, hooked, config
        others = {one.sae for own in config.sets.values() for one in own}
        others |= {one.when.sae for own in config.sets.values() for one in own if one.when and one.when.sae}
        self.saes: Mapping[str, Hooked] = {sae: hooked, **open_on(lm, workspace, *sorted(others - {sae}))}
        self.workspace, self.work, self.track = workspace, work, track
        self.divided = divided

    @cached_property
    def questions(self) -> QuestionSet:
        """On all topics; made once."""
        path = self.work / "questions.jsonl"
        if not path.exists():
            topics = {**self.config.forget, **self.config.retain}
            total = len(topics) * self.config.questions.per_topic
            with self.track("questions", total) as done:
                found = build_questions(
                    self.lm, self.config.corpus, topics, self.config.questions, "all", lambda n, _: done(n)
                )
            write_questions(path, found)
        return read_questions(path)

    @cached_property
    def material(self) -> Material:
        """Texts and questions, divided."""
        return gather(self.lm, self.questions, self.divided, self.config)

    @cached_property
    def firings(self) -> tuple[Firings, Firings]:
        """On the text to forget, and on that to retain."""
        found = []
        for what, blocks in (("forget", self.material.forget_text), ("retain", self.material.retain_text)):
            with self.track(f"firings, {what}", sum(map(len, blocks))) as done:
                found.append(firings_on(self.lm, self.hooked, blocks, done))
        return found[0], found[1]

    @cached_property
    def candidates(self) -> list[Candidate]:
        """The features that are treated."""

        def made() -> Candidates:
            found = selection.candidates(
                self.lm, self.saes, self.sae, self.material, self.firings, self.config,
                lambda: FeatureStore.open(self.workspace), self.track,
            )  # fmt: skip
            return Candidates(rows=tuple(found))

        return list(kept(self.work / "candidates.json", Candidates, made).rows)

    def chosen(self, found: list[Candidate], treatments: Sequence[Treatment]) -> Chosen:
        """Features with their units, and the gate where one of the treatments is guarded."""
        percentile = next((t.percentile for t in treatments if t.kind == "guarded"), None)
        return selection.chosen(self.lm, self.hooked, found, self.firings[0], self.material, percentile)

    def curve(self, name: str, at: Callable[[float], AbstractContextManager[None]], doses: Sequence[float]) -> Curve:
        """A treatment or baseline at every strength."""
        with self.track(name, len(doses)) as done:
            curve = dose_response(self.lm, at, doses, self.material.exam, self.work / name, {"name": name}, done)
        return Curve(name=name, baseline=False, points=curve.points, best=best(curve.points, self.config.bound))

    def treated(self, treatment: Treatment, chosen: Chosen, name: str) -> Curve:
        """A treatment of features at every strength."""
        return self.curve(name, lambda dose: self.under(treatment, chosen, dose), treatment.strengths)

    def examined(self, name: str, interventions: Sequence[Intervention]) -> Curve:
        """A set of interventions as it is."""
        return self.curve(set_name(name), lambda _: intervened(self.lm, interventions, self.saes), [AS_IT_IS])

    def under(self, treatment: Treatment, chosen: Chosen, strength: float) -> AbstractContextManager[None]:
        """The model under a treatment."""
        return intervened(self.lm, interventions(treatment, chosen, strength), self.saes)

    def baselines(self) -> list[Curve]:
        """What features must beat, by the same exam."""
        first = next(iter(self.config.treatments), Treatment())
        made: dict[str, Callable[[], Curve]] = {
            "random": lambda: self.treated(first, self.chosen(self._at_random(), [first]), "random"),
            "direction": self._direction,
            RMU: self._rmu,
        }
        return [made[name]().model_copy(update={"baseline": True}) for name in self.config.baselines]

    def _at_random(self) -> list[Candidate]:
        return selection.at_random(self.candidates, self.firings, self.config.seed)

    def _direction(self) -> Curve:
        found = difference_of_means(
            self.lm, self.hooked.hook_point, self.material.forget_text, self.material.retain_text
        )
        return self.curve(
            "direction", partial(ablated, self.lm, self.hooked.hook_point, found), self.config.direction_strengths
        )

    def _rmu(self) -> Curve:
        def measured() -> DosePoint:
            folder = self.work / "rmu-model"
            shutil.rmtree(folder, ignore_errors=True)
            with self.track(RMU, self.config.rmu.steps) as done:
                changed = rmu(
                    self.lm, self.material.forget_text, self.material.retain_text, self.config.rmu, folder,
                    lambda step, _: done(step),
                )  # fmt: skip
            found = scores(self.lm, lambda: weights_of(self.lm, changed), self.material.exam)
            return DosePoint(strength=self.config.rmu.c, scores=found)

        point = kept(self.work / "rmu.json", DosePoint, measured)
        return Curve(name=RMU, baseline=False, points=(point,), best=best([point], self.config.bound))

    def saebench(self) -> UnlearningScore:
        """SAEBench's score on the same questions, over its own grid; strengths there are in the SAE's units."""
        grid, exam = Grid(), self.material.exam

        def measure(cell: Cell) -> Row:
            found = by_frequency(self.sae, *self.firings, cell.n_features, cell.retain_threshold)
            if not found:  # nothing to clamp, nothing is forgotten
                return Row(cell=cell, forget=1.0, controls=1.0)
            clamp = ClampActive(sae=self.sae, feature=tuple(one.feature for one in found), activation=-cell.multiplier)
            with intervened(self.lm, [clamp], self.saes):
                right = [accuracy(ask(self.lm, own, "given")).value for own in (exam.forget, exam.controls)]
            return Row(cell=cell, forget=right[0], controls=right[1])

        with self.track("SAEBench", len(grid.cells())) as done:
            (self.work / "saebench").mkdir(exist_ok=True)
            return unlearning_score(run_grid(measure, grid, self.work / "saebench", done))

    def pick(self, curves: Sequence[Curve], chosen: Chosen) -> Picked:
        """The treatment and strength, or the set, that forget most within the bound; if none is, what gains most."""
        treatments: dict[str, Treatment] = {treatment.kind: treatment for treatment in self.config.treatments}
        sets = {set_name(name): values for name, values in self.config.sets.items()}
        own = [(curve.name, point) for curve in curves for point in curve.points if not curve.baseline]
        within = [each for each in own if each[1].scores.controls.value >= self.config.bound]
        name, point = (
            min(within, key=lambda each: (each[1].scores.forget.value, -each[1].scores.controls.value))
            if within
            else max(own, key=lambda each: each[1].scores.controls.value - each[1].scores.forget.value)
        )
        values = sets.get(name) or interventions(treatments[name], chosen, point.strength)
        return Picked(
            treatment=name, strength=point.strength, keeps_controls=bool(within), interventions=tuple(values),
            scores=point.scores,
        )  # fmt: skip


def best(points: Sequence[DosePoint], bound: float) -> int | None:
    """Number of the point that forgets most among those that keep the controls."""
    within = [number for number, point in enumerate(points) if point.scores.controls.value >= bound]
    return min(within, key=lambda number: points[number].scores.forget.value, default=None)


def unlearn(
    lm: LanguageModel,
    sae: str,
    hooked: Hooked,
    config: UnlearnConfig,
    divided: Divided,
    workspace: Path,
    work: Path,
    result_id: str,
    track: Track = silent,
    provenance: Mapping[str, Any] | None = None,
    keep: Callable[[UnlearningResult], None] = lambda _: None,
) -> UnlearningResult:
    """Unlearn topics of a corpus and say what it costs. Stopped at any moment, the same call goes on.

    Args:
        lm: the model; it is left as it was.
        sae: name of the SAE.
        hooked: the SAE and where it reads.
        config: how.
        divided: the documents: `divide(config)`, which needs no model.
        workspace: for lists of features, and for the other SAEs that sets of interventions use.
        work: folder for what is done so far, removed at the end.
        result_id: name of the result.
        track: is told how far it is.
        provenance: kept in the result; what was made from another is begun anew.
        keep: keeps the result. It is called before what is done so far is removed, so that a kill loses neither.

    Raises:
        UserError: settings that the model cannot be run with, no question that it gets right, no feature that fits,
            strengths that overflow, another process at work on it.
    """
    check_model(lm, config)
    about = {
        "model": lm.provenance, "sae": sae, "settings": config.model_dump(mode="json"), "code": saebench.__version__,
        **(provenance or {}),
    }  # fmt: skip
    with opened_work(work, about, f"another process is working on {result_id}; wait for it, or choose another --id"):
        run = Run(lm, sae, hooked, config, divided, workspace, work, track)
        check_often(run.material.exam.neutral)
        chosen = run.chosen(run.candidates, config.treatments)
        curves = [run.treated(treatment, chosen, treatment.kind) for treatment in config.treatments]
        curves += [run.examined(name, own) for name, own in config.sets.items()]
        curves += run.baselines()
        score = run.saebench()
        picked = run.pick(curves, chosen)
        exam = run.material.exam

        def under() -> AbstractContextManager[None]:
            return intervened(lm, picked.interventions, run.saes)

        with track("side effects", 2) as done:
            changed = side_effects(lm, under, exam)
            done(1)
            places = list(dict.fromkeys(run.saes[one.sae].hook_point for one in picked.interventions))
            turned = {flip.id for flip in changed.flips}
            continued = samples(lm, under, places, exam, config.samples, config.sample_tokens, turned)
            done(2)
        result = UnlearningResult(
            id=result_id, sae=sae, hook_point=hooked.hook_point, config=config,
            questions=(len(exam.forget), len(exam.controls)), candidates=tuple(run.candidates), units=chosen.units,
            often=chosen.often, curves=tuple(curves), saebench=score, picked=picked, side_effects=changed,
            samples=tuple(continued),
            provenance={**about, "questions": run.questions.sha256, "exam": exam.about},
        )  # fmt: skip
        keep(result)
        shutil.rmtree(work, ignore_errors=True)
    return result


def check_model(lm: LanguageModel, config: UnlearnConfig) -> None:
    """Raise UserError for settings that a model cannot be run with, which would show only after hours of work."""
    if RMU in config.baselines:
        check_layer(lm, config.rmu)
    if config.samples and config.sample_tokens >= lm.context_length:
        raise UserError(
            f"continuations of {config.sample_tokens} tokens do not fit the model's context of {lm.context_length}; "
            "set unlearn.sample_tokens lower"
        )
