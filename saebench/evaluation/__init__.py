"""How good an SAE is: metrics, each a small file."""

from saebench.evaluation.reconstruction import Reconstruction, evaluate_reconstruction

__all__ = ["Reconstruction", "evaluate_reconstruction"]
