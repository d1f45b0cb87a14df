"""Language models: anything TransformerBridge can boot, by its hook points."""

from saebench.lm.load import load_lm
from saebench.lm.model import LanguageModel

__all__ = ["LanguageModel", "load_lm"]
