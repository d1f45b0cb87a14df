"""axe-core finds no violation of weight on any page, in either theme, at either size."""

from collections.abc import Iterator

import pytest
import synthetic
from axe_playwright_python.sync_playwright import Axe
from hostile import SAE as HOSTILE
from playwright.sync_api import Browser, BrowserContext

pytestmark = pytest.mark.browser
WEIGHTY = {"serious", "critical", "moderate"}
PAGES = {
    "home": "/",
    "SAE": f"/saes/{synthetic.SAE}",
    "feature": f"/saes/{synthetic.SAE}/features/5",
    "attention feature": f"/saes/{HOSTILE}/features/0",
    "dead feature": f"/saes/{synthetic.SAE}/features/{synthetic.DEAD[0]}",
    "card": f"/saes/{synthetic.SAE}/features/5?embed=1",
    "wrong filter": f"/saes/{synthetic.SAE}?filter=nope+%3E+1",
    "prompt": f"/prompt?sae={synthetic.SAE}&text=for+item+in+items",
    "prompt without text": f"/prompt?sae={synthetic.SAE}",
    "steer": f"/steer?sae={synthetic.SAE}&features=9:1&text=for+item&tokens=8",
    "steer without features": f"/steer?sae={synthetic.SAE}",
    "lists": "/lists",
    "jobs": "/jobs",
    "map": f"/saes/{synthetic.SAE}/map",
    "SQL": "/sql?q=SELECT+feature%2C+density%2C+promoted+FROM+feature+LIMIT+30",
    "wrong SQL": "/sql?q=SELECT+densty+FROM+feature",
    "compare": "/compare",
    "two features": f"/compare/features?a={synthetic.SAE}/5&b={synthetic.SAE}/7",
    "circuits": "/circuits",
    "circuit": "/circuits/brackets?node=blocks.1.hook_mlp_out%2F181",
    "circuit by position": "/circuits/by-position?node_threshold=0.2&group=early",
    "circuits compared": "/circuits/compare?a=brackets&b=hostile",
    "interventions": "/interventions",
    "unlearning": "/interventions/tkinter.frequency",
    "unlearning compared": "/interventions/compare?a=tkinter.frequency&b=hostile",
    "saved interventions": "/interventions/sets/several",
    "composing": f"/interventions/compose?sae={synthetic.SAE}&features=3,9",
    "changing": "/interventions/compose?edit=several",
    "saved interventions compared": "/interventions/compare/sets?a=several&b=tkinter.frequency&text=for+item&tokens=8",
    "prompt under interventions": f"/prompt?sae={synthetic.SAE}&text=for+item&interventions=tkinter.frequency",
    "steer under interventions": f"/steer?sae={synthetic.SAE}&text=for+item&interventions=several&tokens=8",
    "error": "/nowhere",
}


@pytest.fixture(scope="module", params=[("light", 1280, 800), ("dark", 390, 844)], ids=["light desk", "dark phone"])
def context(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    theme, width, height = request.param
    opened = chromium.new_context(
        color_scheme=theme, viewport={"width": width, "height": height}, bypass_csp=True, reduced_motion="reduce"
    )  # axe is put into the page
    yield opened
    opened.close()


@pytest.mark.parametrize("name", PAGES)
def test_no_weighty_violation(context: BrowserContext, address: str, name: str):
    page = context.new_page()
    page.goto(address + PAGES[name])
    page.wait_for_load_state("networkidle")
    found = Axe().run(page).response["violations"]
    page.close()
    said = [
        f"{one['id']} ({one['impact']}): {one['help']}; {[node['html'][:200] for node in one['nodes'][:3]]}"
        for one in found
        if one["impact"] in WEIGHTY
    ]
    assert not said, "\n".join(said)
