"""Saebench: harvest activations, train sparse autoencoders, index and browse their features."""

__version__ = "0.1.0"
