"""Circuits: which features of which sites carry a behaviour, how they act on each other, and how far that is proven.

A circuit is data (`graph`), kept in a workspace (`files`), and needs no torch to be read. What finds one does:

from saebench.circuits.discover import discover
"""

from saebench.circuits.graph import Circuit, Curve, CurvePoint, Edge, Node

__all__ = ["Circuit", "Curve", "CurvePoint", "Edge", "Node"]
