"""What peers_quality.py runs in the peers' environment, and what it shares with what runs there."""
