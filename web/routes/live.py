"""A feature's live activations on any text."""

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from saebench.errors import UserError
from web.errors import RESPONSES, ProblemError
from web.formats import number
from web.live import MOST_CHARACTERS, LiveCodes
from web.markup import units_html
from web.models.live import LiveAnswer, LiveText
from web.rendering import page
from web.routes.params import Corpus, Feature, Here, SaeId
from web.tokens import Unit, units
from web.views.examples import existing_feature

router = APIRouter(tags=["features"], responses=RESPONSES)


def _live(request: Request, here: Here, sae_id: str, feature: int, corpus: str | None, text: str):  # type: ignore[no-untyped-def]
    """(codes, units, the feature's maximum in the index). Raises ProblemError for what cannot be encoded."""
    if len(text) > MOST_CHARACTERS:
        raise ProblemError(
            413,
            "Too long",
            f"The text has {len(text):,} characters; the test box takes {MOST_CHARACTERS:,}.",
            "Try a shorter passage.",
        )
    if not text:
        raise ProblemError(422, "Nothing to encode", "The text is empty.", "Type something.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ProblemError(422, "Not text", "The text holds half a surrogate pair, which is no character.")
    maximum = existing_feature(here, feature, here.index(sae_id, corpus)).stats.max_activation
    live = request.app.state.live
    if live is None:
        raise ProblemError(503, "Test box off", "This dashboard runs without a language model.")
    try:
        codes: LiveCodes = live(sae_id, text)
    except UserError as error:
        raise ProblemError(503, "The text cannot be encoded", f"{error}.") from None
    merged = units(codes.pieces, codes.of(feature).tolist())
    return codes, merged, maximum


@router.post("/saes/{sae_id}/features/{feature}/live.json", responses={413: RESPONSES[422], 503: RESPONSES[422]})
def live_json(
    request: Request, here: Here, sae_id: SaeId, feature: Feature, body: LiveText, corpus: Corpus = None
) -> LiveAnswer:
    """The feature's activation at every token of a text, as data."""
    codes, merged, _ = _live(request, here, sae_id, feature, corpus, body.text)
    activations = [unit.activation for unit in merged]
    return LiveAnswer(
        sae=sae_id,
        feature=feature,
        tokens=[unit.text for unit in merged],
        activations=activations,
        n_tokens=len(codes.pieces),
        n_active=int((codes.of(feature) > 0).sum()),
        max_activation=max(activations, default=0.0),
    )


@router.post("/saes/{sae_id}/features/{feature}/live", response_class=HTMLResponse, include_in_schema=False)
def live_html(
    request: Request, here: Here, sae_id: SaeId, feature: Feature, body: LiveText, corpus: Corpus = None
) -> HTMLResponse:
    """The same as highlighted text, for the page."""
    codes, merged, maximum = _live(request, here, sae_id, feature, corpus, body.text)
    strongest: Unit | None = max(merged, key=lambda unit: unit.activation, default=None)
    fires = strongest is not None and strongest.activation > 0
    peak = strongest.start if strongest is not None and fires else None
    n_active = int((codes.of(feature) > 0).sum())
    of = f"{len(codes.pieces)} token{'s' * (len(codes.pieces) != 1)}"
    said = f"Fires on {n_active} of {of}, at most {number(strongest.activation)}" if fires else f"Silent on {of}"  # type: ignore[union-attr]
    html = units_html(merged, maximum or (strongest.activation if fires else 1.0), peak)  # type: ignore[union-attr]
    return page("live.html", html=html, said=said)
