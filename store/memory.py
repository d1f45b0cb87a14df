"""How much memory building an index aims at, in bytes: of the finaliser and its helper processes together."""

MEMORY = 2 << 30
LEAST_MEMORY = 256 << 20
HELPER = 400 << 20
"""What one helper process takes."""
