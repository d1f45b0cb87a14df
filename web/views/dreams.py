"""A feature's dream: prompts made to activate it, beside the corpus' own."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from store import Dream, DreamPrompt, find_dream
from store.dreams import dream_path
from web.errors import ProblemError
from web.figures.dreams import frontier
from web.figures.frame import Figure
from web.formats import fixed, number
from web.jobs.runner import JobRunner
from web.markup import units_html
from web.models.jobs import JobPage
from web.tokens import units
from web.views.examples import existing_feature
from web.workspace import Workspace

SHOWN = 10
"""Prompts of the frontier that are listed; the figure has all."""
EXAMPLES = 3
MADE_WITH = ("iterations", "tokens")
"""Settings that the page says."""


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
    at: datetime | None
    """When it was dreamt; None without a dream."""
    job: JobPage | None
    maximum: float
    """The feature's largest activation, on the corpus or here: the scale of the highlights."""

    @property
    def prompts(self) -> list[DreamPrompt]:
        """Some of the frontier, likeliest first."""
        return self.dream.spread(SHOWN) if self.dream else []

    @property
    def figure(self) -> Figure | None:
        """The frontier; None without a dream."""
        return frontier(self.dream) if self.dream else None

    @property
    def made(self) -> str:
        """How it was dreamt, as far as its provenance says, and when."""
        if self.dream is None or self.at is None:
            return ""
        settings, seed = self.dream.provenance.get("settings", {}), self.dream.provenance.get("seed")
        said = [f"{value} {name if value != 1 else name[:-1]}" for name in MADE_WITH if (value := settings.get(name))]
        said += [] if seed is None else [f"seed {seed}"]
        return ", ".join([*said, f"dreamt {self.at:%Y-%m-%d}"])

    @property
    def against_corpus(self) -> str:
        """What the dream gains over the corpus' strongest example, in words; nothing without an example."""
        if self.dream is None or not self.dream.examples:
            return ""
        own, gain = self.dream.examples[0], self.dream.gain
        example = f"the strongest example of {self.dream.corpus}, cut to the same length"
        rarity = f"{fixed(own.cross_entropy)} nats per token"
        if own.activation <= 0:
            return f"No example of {self.dream.corpus}, cut to this length, activates it: there is no gain to name."
        if gain is None:
            least = fixed(self.dream.frontier[0].cross_entropy)
            return (
                f"No text of the dream is as likely as {example} ({rarity}; the likeliest text has {least}), so "
                "that no gain over it can be named."
            )
        return (
            f"Of the texts at least as likely as {example} ({rarity}), the strongest activates the feature "
            f"{number(gain)} times as much as that example."
        )

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
    at = datetime.fromtimestamp(dream_path(here.path, sae, feature).stat().st_mtime, UTC) if found else None
    job = jobs.last("dream", **about(sae, feature, own))
    maximum = max(largest, found.best.activation if found else 0.0)
    return DreamFrame(sae, feature, own, found, dreamable, at, job, maximum)


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
