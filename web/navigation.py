"""What every page links to at its head."""

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
