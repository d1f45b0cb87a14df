"""What every page links to at its head."""

from web.urls import urls

NAVIGATION = (
    ("SAEs", urls.home()),
    ("Prompt", urls.prompt()),
    ("Steer", urls.steer()),
)
"""(title, address), from left to right."""
