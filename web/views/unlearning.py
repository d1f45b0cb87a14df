"""An unlearning run as its page shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from saebench.wording import spared, strength_of, treated
from store import StoreError
from web.figures.frame import Figure
from web.figures.unlearning import dose_response
from web.formats import fixed, number, percent, signed
from web.markup import units_html
from web.models.interventions import CandidateRow
from web.views.examples import Shown
from web.views.kept_point import keepable
from web.views.summary import summaries
from web.views.unlearning_parts import (
    Key,
    Turned,
    excerpt_html,
    flat,
    interval,
    keys,
    legend,
    moved_html,
    turned_row,
)
from web.workspace import Workspace

if TYPE_CHECKING:
    from saebench.interventions.unlearning import UnlearningResult
    from saebench.interventions.unlearning.result import Sample

WITH_TEXT = 40
"""Candidates beside which the text is shown on which they fire most."""
NEAR = 6
"""Tokens of that text on either side of the peak."""
OWN_COLUMNS = ("forget density", "retain density")


@dataclass(frozen=True)
class RunView:
    """A run, when it was finished, and its candidates as rows: of each, where it fires in the text to forget (document,
    stretch), and where it fires most in the index on `corpus`.
    """

    run: "UnlearningResult"
    at: datetime
    candidates: list[CandidateRow]
    excerpts: list[list[tuple[str, Markup]]]
    corpus: str | None
    texts: dict[int, Markup]

    @property
    def title(self) -> str:
        """What was to be forgotten."""
        return f"Unlearning {', '.join(self.run.config.forget)}"

    @property
    def picked(self) -> str:
        """The picked treatment in words."""
        return treated(self.run.picked.treatment, self.run.picked.strength)

    @property
    def facts(self) -> list[tuple[str, str, str]]:
        """(what, value, interval or remark) of the picked treatment."""
        own = self.run.picked.scores
        rows = [
            ("forget right", percent(own.forget.value), interval(own.forget)),
            ("controls right", percent(own.controls.value), interval(own.controls)),
        ]
        if own.ce_added is not None:
            rows.append(("CE added, nats", signed(own.ce_added.value), interval(own.ce_added, share=False)))
        if own.kl is not None:
            rows.append(("KL, nats", number(own.kl.value), interval(own.kl, share=False)))
        return rows

    @property
    def why(self) -> str:
        """Why this treatment and strength is the picked one."""
        run = self.run
        bound, of_controls = f"{percent(run.config.bound)} of the controls", spared(run.questions[1], run.config.bound)
        if not run.picked.keeps_controls:
            gains = "this one gains most: controls kept minus forget questions still right"
            return f"No strength keeps {bound}{of_controls}; {gains}."
        own = run.picked.scores.forget.value
        treatments = [curve for curve in run.curves if not curve.baseline]
        more = any(point.scores.forget.value < own for curve in treatments for point in curve.points)
        rest = " What forgets more costs more of the controls: see the figures." if more else ""
        return f"It forgets most among those that keep {bound}{of_controls}.{rest}"

    @property
    def saebench(self) -> str:
        """SAEBench's score, and what it is of; nothing where it was not asked for."""
        found = self.run.saebench
        if found is None:
            return ""
        if found.best is None:
            return f"score {fixed(found.score, 3)}, since none of its rows keeps the controls"
        cell = found.best.cell
        return (
            f"score {fixed(found.score, 3)}, of {cell.n_features} features clamped to −{cell.multiplier:g} that fire "
            f"on at most {percent(cell.retain_threshold)} of the retained text"
        )

    @cached_property
    def figures(self) -> dict[str, tuple[str, Figure]]:
        """Dose and response, by score."""
        return dose_response(self.run)

    @property
    def legend(self) -> list[Key]:
        """Treatments and baselines as the figures draw them."""
        return legend(curve.name for curve in self.run.curves)

    @property
    def points(self) -> list[dict[str, Any]]:
        """Every strength of every treatment and baseline."""
        picked, can_keep = self.run.picked, keepable(self.run)
        return [
            {
                "key": key,
                "first": i == 0,
                "alone": len(curve.points) == 1,
                "baseline": curve.baseline,
                "strength": strength_of(curve.name, point.strength),
                "dose": point.strength,
                "keep": not curve.baseline and curve.name in can_keep,
                "picked": (curve.name, point.strength) == (picked.treatment, picked.strength) and not curve.baseline,
                "best": curve.best == i and (curve.baseline or curve.name != picked.treatment),
                "scores": point.scores,
            }
            for curve, key in zip(self.run.curves, keys(curve.name for curve in self.run.curves), strict=True)
            for i, point in enumerate(curve.points)
        ]

    @property
    def tried_alone(self) -> bool:
        """Whether each feature was also intervened on by itself."""
        return any(one.loss_added is not None for one in self.run.candidates)

    @property
    def turned(self) -> list[Turned]:
        """Questions that turned, as rows."""
        return [turned_row(flip) for flip in self.run.side_effects.flips]

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
    excerpts = [[(own.document, excerpt_html(own)) for own in one.excerpts] for one in run.candidates]
    return RunView(run, at, candidates, excerpts, corpus, top_texts(here, run.sae, corpus, shown))


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
