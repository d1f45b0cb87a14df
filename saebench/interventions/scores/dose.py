"""Dose and response: every score at every strength of an intervention."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

import saebench
from saebench.errors import UserError
from saebench.interventions.scores.exam import Exam, Scores, scores
from saebench.lm import LanguageModel
from saebench.work import kept, opened_work

At = Callable[[float], AbstractContextManager[None]]
"""A strength → a context in which the model stands under the intervention of that strength."""


class DosePoint(BaseModel):
    """One strength, and how the intervention does at it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strength: float
    scores: Scores


class DoseCurve(BaseModel):
    """A point for each strength, rising."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    points: tuple[DosePoint, ...]
    provenance: dict[str, Any]


def dose_response(
    lm: LanguageModel,
    at: At,
    strengths: Sequence[float],
    exam: Exam,
    work: Path,
    about: Mapping[str, Any],
    progress: Callable[[int], None] | None = None,
) -> DoseCurve:
    """Examine an intervention at several strengths. Stopped at any moment, the same call goes on from the last point.

    Args:
        lm: the model.
        at: puts it under the intervention of a strength.
        strengths: which.
        exam: what it is judged by.
        work: folder for the points; the caller removes it when the curve is kept.
        about: what decides the intervention besides its strength, as plain data; points made from another are thrown
            away.
        progress: called with the number of points done so far.

    Raises:
        UserError: no strengths, another process at work in the folder, or as `scores`.
    """
    if not strengths:
        raise UserError("no strengths are given; name some, for example 1,2,4,8")
    made_from = {"model": lm.provenance, "exam": exam.about, "code": saebench.__version__, "intervention": dict(about)}
    points = []
    with opened_work(work, made_from, f"another process is working in {work}; wait for it"):
        for number, strength in enumerate(sorted({float(each) for each in strengths}), 1):

            def measured(strength: float = strength) -> DosePoint:
                return DosePoint(strength=strength, scores=scores(lm, lambda: at(strength), exam))

            points.append(kept(work / f"point.{strength!r}.json", DosePoint, measured))
            if progress is not None:
                progress(number)
    return DoseCurve(points=tuple(points), provenance=made_from)
