"""What every page links to at its head, and where one goes on from a page that is not there."""

from web.urls import urls

NAVIGATION = (
    ("SAEs", urls.home()),
    ("Prompt", urls.prompt()),
    ("Steer", urls.steer()),
    ("Compare", urls.compare()),
    ("Circuits", urls.circuits()),
    ("Interventions", urls.interventions()),
    ("Lists", urls.lists()),
    ("SQL", urls.sql()),
    ("Jobs", urls.jobs()),
)
"""(title, address), from left to right."""

_LISTS = {
    urls.circuits(): "All circuits",
    urls.interventions(): "All unlearning runs and saved interventions",
    urls.lists(): "All lists",
    urls.jobs(): "All jobs",
}


def list_of(path: str) -> tuple[str, str]:
    """(title, address) of the list that a page is in; what has no list of its own belongs to SAEs."""
    place = "/" + path.split("/")[1]
    return (_LISTS[place], place) if place in _LISTS else ("All SAEs", urls.home())
