"""A feature's dream: prompts made to activate it, beside the corpus' own."""

from dataclasses import asdict, dataclass
from typing import Any

from markupsafe import Markup

from store import Dream, DreamPrompt, find_dream
from web.errors import ProblemError
from web.figures.dreams import frontier
from web.figures.frame import Figure
from web.jobs.runner import JobRunner
from web.markup import units_html
from web.models.jobs import JobPage
from web.tokens import units
from web.views.examples import existing_feature
from web.workspace import Workspace

SHOWN = 10
"""Prompts of the frontier that are listed; the figure has all."""
EXAMPLES = 3


@dataclass(frozen=True)
class DreamFrame:
    """What the page shows of a dream."""

    sae: str
    feature: int
    corpus: str
    """Whose index the page is of."""
    dream: Dream | None
    dreamable: bool
    """Whether the SAE's weights are there."""
    job: JobPage | None
    maximum: float
    """The feature's largest activation, on the corpus or here: the scale of the highlights."""

    @property
    def prompts(self) -> list[DreamPrompt]:
        """Some of the frontier, strongest first."""
        return self.dream.spread(SHOWN) if self.dream else []

    @property
    def figure(self) -> Figure | None:
        """The frontier; None without a dream."""
        return frontier(self.dream) if self.dream else None

    def html(self, prompt: DreamPrompt) -> Markup:
        """A text with its tokens shaded as those of examples are."""
        pieces = [bytes.fromhex(piece) for piece in prompt.pieces]
        return units_html(units(pieces, prompt.activations), self.maximum, len(pieces) - 1)

    def data(self) -> dict[str, Any]:
        """As `web.models.dreams.DreamPage` describes it."""
        dream = self.dream and asdict(self.dream) | {"gain": self.dream.gain}
        job = self.job and self.job.model_dump()
        return {"sae": self.sae, "feature": self.feature, "corpus": self.corpus, "dream": dream, "job": job}


def dream_frame(here: Workspace, jobs: JobRunner, sae: str, feature: int, corpus: str | None) -> DreamFrame:
    """A feature's dream, or what keeps it. Raises ProblemError 404."""
    index = here.index(sae, corpus)
    largest = existing_feature(here, feature, index).stats.max_activation
    dreamable, own = here.trained(sae), index["corpus_id"]
    found = find_dream(here.path, sae, feature) if dreamable else None
    job = jobs.last("dream", **about(sae, feature, own))
    maximum = max(largest, found.best.activation if found else 0.0)
    return DreamFrame(sae, feature, own, found, dreamable, job, maximum)


def about(sae: str, feature: int, corpus: str) -> dict[str, str]:
    """What a job that dreams is about."""
    return {"sae": sae, "feature": str(feature), "corpus": corpus}


def wanted(here: Workspace, sae: str, feature: int, corpus: str | None) -> dict[str, str]:
    """What a job that dreams shall be about. Raises ProblemError 404, or 409 without the SAE's weights."""
    index = here.index(sae, corpus)
    existing_feature(here, feature, index)
    if not here.trained(sae):
        remedy = "Train it to its end, or import its weights."
        raise ProblemError(409, "There is nothing to dream with", f"The weights of {sae} are not here.", remedy)
    return about(sae, feature, index["corpus_id"])
