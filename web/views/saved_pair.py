"""Two saved sets of interventions side by side: what either does to each feature, and a text continued under both."""

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from web.formats import percent
from web.live import Versus, Written
from web.markup import continuation_html
from web.models import interventions as models
from web.tokens import units
from web.views.choice import saved_names
from web.views.saved import saved_page
from web.views.summary import summaries
from web.workspace import Workspace

Done = dict[tuple[str, int], list[str]]
"""What is done to each feature of an SAE, in order."""


def sets_compared(here: Workspace, a: str | None, b: str | None) -> models.SetsCompared:
    """Two sets; only what can be compared where one is not chosen. Raises ProblemError 404."""
    frame = models.SetsCompared(sets=saved_names(here), a=a, b=b)
    if not a or not b:
        return frame
    pages = [saved_page(here, one) for one in (a, b)]
    done = [_done(page.interventions) for page in pages]
    features = list(dict.fromkeys([*done[0], *done[1]]))
    rows = [
        models.FeatureUnderTwo(feature=row, a=done[0].get(one, []), b=done[1].get(one, []))
        for one, row in zip(features, summaries(here, features), strict=True)
    ]
    sides = [
        models.SetSide(
            id=page.id, n=len(page.interventions), features=len(own), saes=list(dict.fromkeys(page.saes.values())),
            notes=page.notes,
        )
        for page, own in zip(pages, done, strict=True)
    ]  # fmt: skip
    different = [row for row in rows if row.a != row.b]
    return frame.model_copy(
        update={"sides": sides, "different": different, "same": [row for row in rows if row.a == row.b]}
    )


def _done(lines: list[models.InterventionLine]) -> Done:
    found: Done = {}
    for line in lines:
        for feature in line.features:
            said = f"{line.label}: {line.does}" + (f", {line.where}" if line.where else "")
            found.setdefault((line.sae, feature), []).append(said)
    return found


@dataclass(frozen=True)
class VersusView:
    """A text continued under nothing and under two sets."""

    a: str
    b: str
    text: str
    tokens: int
    temperature: float
    seed: int
    found: Versus

    @property
    def sides(self) -> list[tuple[str, str | None, Markup]]:
        """(title, set, text) of the three."""
        titles = (("without", None), (self.a, self.a), (self.b, self.b))
        return [(*title, self._html(own)) for title, own in zip(titles, self.found.written, strict=True)]

    @property
    def largest(self) -> float:
        """The largest probability shown."""
        return max(max(shares) for _, shares in self.found.next)

    def _html(self, own: Written) -> Markup:
        moved = np.zeros(len(own.pieces)) if own.moved is None else np.minimum(own.moved, 1.0)
        merged = units(own.pieces, moved.tolist())
        said = [f"changed by {percent(unit.activation)} of its size" for unit in merged]
        return continuation_html(merged, said, self.found.n_prompt)

    def data(self) -> models.Versus:
        """All of it as data."""
        n, found = self.found.n_prompt, self.found
        return models.Versus(
            a=self.a, b=self.b, text=self.text, tokens=self.tokens, temperature=self.temperature, seed=self.seed,
            generated=[b"".join(own.pieces[n:]).decode(errors="replace") for own in found.written],
            moved=[[] if own.moved is None else own.moved.tolist() for own in found.written],
            next=[models.NextOfThree(token=token.decode(errors="replace"), shares=each) for token, each in found.next],
            divergences=found.divergences,
        )  # fmt: skip
