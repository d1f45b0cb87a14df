"""Plotly figures as data: what is drawn and in which role, never in which colour."""
