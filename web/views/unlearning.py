"""An unlearning run as its page shows it, and two side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from store import StoreError
from web.figures.frame import Figure
from web.figures.unlearning import dose_response, two_runs
from web.formats import fixed, number, percent, signed
from web.markup import continuation_html, units_html
from web.models.interventions import CandidateRow, RunsCompared, RunScores
from web.tokens import units
from web.views.examples import Shown
from web.views.summary import summaries
from web.workspace import Workspace

if TYPE_CHECKING:
    from saebench.interventions.scores.bootstrap import Estimate
    from saebench.interventions.unlearning import UnlearningResult
    from saebench.interventions.unlearning.result import Sample

WITH_TEXT = 40
"""Candidates beside which the text is shown on which they fire most."""
NEAR = 6
"""Tokens of that text on either side of the peak."""
OWN_COLUMNS = ("forget density", "retain density")
NAMES = {
    "clamp": "clamped where it fires",
    "clamp_prime": "clamped where it fires strongly",
    "guarded": "clamped in texts where the features fire often",
    "zero": "set to zero",
    "scale": "scaled",
    "project": "projected out",
}


@dataclass(frozen=True)
class RunView:
    """A run, when it was finished, and its candidates as rows."""

    run: "UnlearningResult"
    at: datetime
    candidates: list[CandidateRow]
    texts: dict[int, Markup]

    @property
    def title(self) -> str:
        """What was to be forgotten."""
        return f"Unlearning {', '.join(self.run.config.forget)}"

    @property
    def picked(self) -> str:
        """The picked treatment in words."""
        return f"{NAMES[self.run.picked.treatment]}, strength {self.run.picked.strength:g}"

    @property
    def facts(self) -> list[tuple[str, str, str]]:
        """(what, value, interval or remark) of the picked treatment."""
        own, found = self.run.picked.scores, self.run.saebench
        rows = [
            ("forget right", percent(own.forget.value), interval(own.forget)),
            ("controls right", percent(own.controls.value), interval(own.controls)),
        ]
        if own.ce_added is not None:
            rows.append(("CE added, nats", signed(own.ce_added.value), interval(own.ce_added, share=False)))
        if own.kl is not None:
            rows.append(("KL, nats", number(own.kl.value), interval(own.kl, share=False)))
        if found is not None:
            rows.append(("SAEBench score", fixed(found.score, 3), self._cell))
        return rows

    @property
    def _cell(self) -> str:
        best = self.run.saebench.best if self.run.saebench else None
        if best is None:
            return "no cell keeps the controls"
        cell = best.cell
        return f"{cell.n_features} features at −{cell.multiplier:g}, retain below {percent(cell.retain_threshold)}"

    @cached_property
    def figure(self) -> Figure:
        """Dose and response."""
        return dose_response(self.run)

    @property
    def points(self) -> list[dict[str, Any]]:
        """Every strength of every treatment and baseline."""
        picked = self.run.picked
        return [
            {
                "name": curve.name,
                "first": i == 0,
                "baseline": curve.baseline,
                "strength": f"{point.strength:g}",
                "picked": (curve.name, point.strength) == (picked.treatment, picked.strength) and not curve.baseline,
                "best": curve.best == i,
                "scores": point.scores,
            }
            for curve in self.run.curves
            for i, point in enumerate(curve.points)
        ]

    @property
    def score_names(self) -> list[str]:
        """What the candidates were ranked by, besides the densities, which have columns of their own."""
        names = dict.fromkeys(name for one in self.run.candidates for name in one.scores)
        return [name for name in names if name not in OWN_COLUMNS]

    @property
    def samples(self) -> list[tuple["Sample", Markup, float]]:
        """Each with its prompt, shaded where the intervention fired, and its largest probability."""
        largest = max((max(one.moved, default=0.0) for one in self.run.samples), default=0.0)
        return [
            (one, moved_html(one.tokens, one.moved, largest), max([1e-9, *(max(n.before, n.after) for n in one.next)]))
            for one in self.run.samples
        ]

    @property
    def settings(self) -> list[tuple[str, str]]:
        """How it was made."""
        config = self.run.config
        rows = [("SAE", self.run.sae), ("hook point", self.run.hook_point), ("corpus", config.corpus.name)]
        rows += [(f"forget {name}", ", ".join(patterns)) for name, patterns in config.forget.items()]
        rows += [(f"keep {name}", ", ".join(patterns)) for name, patterns in config.retain.items()]
        rows.append(("chosen by", config.choose.method + (f" {config.choose.list}" if config.choose.list else "")))
        rows.append(("questions of a topic, at most", number(config.questions.per_topic)))
        rows.append(("bound on the controls", percent(config.bound)))
        return rows + [(name, value) for name, value in flat(self.run.provenance) if name != "settings"]


def run_view(here: Workspace, run_id: str) -> RunView:
    """A run. Raises ProblemError 404."""
    run = here.interventions.run(run_id)
    at = datetime.fromtimestamp(here.interventions.made_at(run_id), UTC)
    corpus = corpus_of(here, run.sae)
    rows = summaries(here, [(one.sae, one.feature) for one in run.candidates], corpus)
    candidates = [
        CandidateRow(
            feature=row,
            indexed=row.density is not None,
            scores=one.scores,
            unit=unit,
            forget_density=one.forget_density,
            retain_density=one.retain_density,
            loss_added=one.loss_added,
            changes=len(one.changes),
        )
        for row, one, unit in zip(rows, run.candidates, run.units, strict=True)
    ]
    shown = [row.feature.feature for row in candidates if row.indexed][:WITH_TEXT]
    return RunView(run, at, candidates, top_texts(here, run.sae, corpus, shown))


def corpus_of(here: Workspace, sae: str) -> str | None:
    """The first corpus that an SAE is indexed on."""
    return next((row["corpus_id"] for row in here.store.indexes() if row["sae_id"] == sae), None)


def top_texts(here: Workspace, sae: str, corpus: str | None, features: Sequence[int]) -> dict[int, Markup]:
    """Where each of some features fires most, a few tokens on either side; silent ones have nothing."""
    found: dict[int, Markup] = {}
    for feature in features if corpus else ():
        try:
            examples = here.store.feature(sae, feature, corpus).top(1)
        except StoreError:
            continue
        for example in examples:
            own = Shown(example).units
            at = next((i for i, unit in enumerate(own) if unit.start <= example.peak < unit.stop), 0)
            found[feature] = units_html(own[max(at - NEAR, 0) : at + NEAR + 1], example.value, example.peak)
    return found


def runs_compared(here: Workspace, a: str | None, b: str | None) -> tuple[RunsCompared, Figure | None]:
    """Two runs and the figure of their doses; neither where one is not chosen. Raises ProblemError 404."""
    known = [row.id for row in here.interventions.runs() if row.problem is None]
    frame = RunsCompared(runs=known, a=a, b=b)
    if not a or not b:
        return frame, None
    runs = [here.interventions.run(one) for one in (a, b)]
    first, second = ({(one.sae, one.feature): None for one in run.candidates} for run in runs)
    parts = {
        "shared": [one for one in first if one in second],
        "only_a": [one for one in first if one not in second],
        "only_b": [one for one in second if one not in first],
    }
    rows = {name: summaries(here, features) for name, features in parts.items()}
    return frame.model_copy(update={"scores": [headline(run) for run in runs], **rows}), two_runs(runs)


def headline(run: "UnlearningResult") -> RunScores:
    """A run's figures for what was picked."""
    own = run.picked.scores
    return RunScores(
        id=run.id,
        treatment=run.picked.treatment,
        strength=run.picked.strength,
        keeps_controls=run.picked.keeps_controls,
        forget=own.forget.value,
        controls=own.controls.value,
        ce_added=own.ce_added.value if own.ce_added else None,
        kl=own.kl.value if own.kl else None,
        saebench=run.saebench.score if run.saebench else None,
    )


def interval(estimate: "Estimate", *, share: bool = True) -> str:
    """An estimate's interval; nothing where none can be said."""
    if estimate.low is None or estimate.high is None:
        return ""
    shown = percent if share else number_signed
    return f"{shown(estimate.low)} to {shown(estimate.high)}"


def number_signed(value: float) -> str:
    """Three significant digits, a true minus."""
    return number(value).replace("-", "−", 1) if value < 0 else number(value)


def moved_html(tokens: Sequence[str], moved: Sequence[float], largest: float) -> Markup:
    """Tokens shaded by how much each was changed, in shares of the largest."""
    merged = units([token.encode() for token in tokens], list(moved))
    shares = [unit._replace(activation=unit.activation / largest if largest else 0.0) for unit in merged]
    said = [f"changed by {percent(unit.activation)} of its size" for unit in merged]
    return continuation_html(shares, said, 0)


def flat(values: dict[str, Any], stem: str = "") -> list[tuple[str, str]]:
    """Nested data as pairs of dotted names and texts."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += flat(value, f"{stem}{name}.")
        elif not isinstance(value, list):
            rows.append((f"{stem}{name}", str(value)))
    return [row for row in rows if not row[0].startswith("settings.")]
