"""The strongest features at every token of a text."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from markupsafe import Markup
from starlette.responses import HTMLResponse

from web.errors import RESPONSES, ProblemError
from web.live import live_codes
from web.markup import piece_html
from web.models.prompt import PromptPage
from web.rendering import environment, page
from web.routes.model import MODEL_RESPONSES, MOST_IN_A_LINK, answering, checked_text, live_of
from web.routes.params import Corpus, Here, Interventions
from web.urls import urls
from web.views.choice import chosen_index, indexed_saes, saved_names
from web.views.prompt import PromptView, prompt_view
from web.views.prompt_applied import applied_of
from web.views.saved import usable
from web.workspace import Workspace

router = APIRouter(tags=["prompt"], responses=RESPONSES)

EXAMPLE = '''def load(path):
    """Read a file and return its lines."""
    with open(path) as f:
        return f.read()
'''

environment.filters["unit"] = lambda unit: Markup("".join(map(piece_html, unit.pieces)))

Sae = Annotated[str | None, Query(max_length=200, description="an SAE's id; the first that has an index by default")]
Text = Annotated[str, Query(description=f"at most {MOST_IN_A_LINK:,} characters")]
Token = Annotated[int | None, Query(ge=0, le=100_000, description="a token of the text, to rank its features alone")]


def view_of(
    request: Request,
    here: Workspace,
    sae: str | None,
    text: str,
    corpus: str | None,
    token: int | None,
    interventions: str | None,
) -> PromptView:
    """The text's features. Raises ProblemError for what cannot be read."""
    text = checked_text(text, MOST_IN_A_LINK)
    index = chosen_index(here, sae, corpus)
    live = live_of(request)
    kept = usable(here, interventions) if interventions else None
    with answering():
        codes = live_codes(live, index["sae_id"], text, kept)
        applied = applied_of(kept, index["sae_id"], live_codes(live, index["sae_id"], text)) if kept else None
    return prompt_view(here, index, text, codes, token, applied)


@router.get("/prompt.json", responses=MODEL_RESPONSES)
def prompt_json(
    request: Request,
    here: Here,
    text: Text,
    sae: Sae = None,
    corpus: Corpus = None,
    token: Token = None,
    interventions: Interventions = None,
) -> PromptPage:
    """The strongest features of a text, or of one of its tokens, as data."""
    return view_of(request, here, sae, text, corpus, token, interventions).data()


@router.get("/prompt", response_class=HTMLResponse)
def prompt_page(
    request: Request,
    here: Here,
    sae: Sae = None,
    text: Text = "",
    corpus: Corpus = None,
    token: Token = None,
    interventions: Interventions = None,
) -> HTMLResponse:
    """The page: it is there at once, and asks for the text's features itself."""
    index = chosen_index(here, sae, corpus) if indexed_saes(here) else None
    return page(
        "prompt.html",
        workspace=here.path,
        here=urls.prompt(),
        index=index,
        saes=indexed_saes(here),
        corpus=corpus,
        sae=sae,
        text=text,
        interventions=interventions,
        saved=saved_names(here),
        example=EXAMPLE,
        most=MOST_IN_A_LINK,
        off=request.app.state.live is None,
        result=urls.prompt_result(sae=sae, corpus=corpus, token=token, text=text, interventions=interventions)
        if text and index
        else None,
    )


@router.get("/prompt/result", response_class=HTMLResponse, include_in_schema=False)
def prompt_result(
    request: Request,
    here: Here,
    sae: Sae = None,
    text: Text = "",
    corpus: Corpus = None,
    token: Token = None,
    interventions: Interventions = None,
) -> HTMLResponse:
    """What the page shows below the text."""
    try:
        view = view_of(request, here, sae, text, corpus, token, interventions)
    except ProblemError as error:
        return page("problem.html", error.problem.status, error=error.problem)
    chosen = {"sae": sae, "corpus": corpus, "text": text, "interventions": interventions}
    return page("prompt_result.html", view=view, chosen=chosen)
