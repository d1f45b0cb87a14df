"""Two unlearning runs side by side."""

from typing import TYPE_CHECKING

from saebench.wording import treated
from web.figures.frame import Figure
from web.figures.unlearning import two_runs
from web.models.interventions import RunsCompared, RunScores
from web.views.summary import summaries
from web.views.unlearning_parts import Key, legend
from web.workspace import Workspace

if TYPE_CHECKING:
    from saebench.interventions.unlearning import UnlearningResult

Figures = dict[str, tuple[str, Figure]]
"""(title, figure) by name."""
JUDGED_BY = {
    "forget": "questions to forget",
    "controls": "controls",
    "orders": "order of the choices",
    "retained": "retained text",
    "neutral": "neutral text",
}
"""Of what the provenance of a run keeps of its exam (`saebench.interventions.scores.Exam.about`)."""


def runs_compared(here: Workspace, a: str | None, b: str | None) -> tuple[RunsCompared, Figures, list[Key]]:
    """Two runs, the figures of their doses and what these draw; nothing where one is not chosen.

    Raises:
        ProblemError: no such run (404).
    """
    known = [row.id for row in here.interventions.runs() if row.problem is None]
    frame = RunsCompared(runs=known, a=a, b=b)
    if not a or not b:
        return frame, {}, []
    runs = [here.interventions.run(one) for one in (a, b)]
    first, second = ({(one.sae, one.feature): None for one in run.candidates} for run in runs)
    parts = {
        "shared": [one for one in first if one in second],
        "only_a": [one for one in first if one not in second],
        "only_b": [one for one in second if one not in first],
    }
    rows = {name: summaries(here, features) for name, features in parts.items()}
    shown = legend(dict.fromkeys(curve.name for run in runs for curve in run.curves if not curve.baseline))
    own = {"scores": [headline(run) for run in runs], "differs": different_exams(*runs)}
    return frame.model_copy(update={**own, **rows}), two_runs(runs), shown


def different_exams(a: "UnlearningResult", b: "UnlearningResult") -> list[str]:
    """What two runs were judged by that is not the same, in words."""
    exams = [run.provenance.get("exam", {}) for run in (a, b)]
    differs = {words: exams[0].get(name) != exams[1].get(name) for name, words in JUDGED_BY.items()}
    for words, mine, theirs in zip(("questions to forget", "controls"), a.questions, b.questions, strict=True):
        differs[words] |= mine != theirs
    differs["model"] = a.provenance["model"].get("sha256") != b.provenance["model"].get("sha256")
    return [words for words, other in differs.items() if other]


def headline(run: "UnlearningResult") -> RunScores:
    """A run's figures for what was picked."""
    own = run.picked.scores
    return RunScores(
        id=run.id,
        treatment=run.picked.treatment,
        strength=run.picked.strength,
        picked=treated(run.picked.treatment, run.picked.strength),
        keeps_controls=run.picked.keeps_controls,
        questions=run.questions,
        forget=own.forget.value,
        controls=own.controls.value,
        ce_added=own.ce_added.value if own.ce_added else None,
        kl=own.kl.value if own.kl else None,
        saebench=run.saebench.score if run.saebench else None,
    )
