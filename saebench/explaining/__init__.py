"""Feature index → what each feature stands for, in words or patterns, and how well that predicts it on other text."""

from saebench.explaining.config import EndpointConfig, ExplainConfig
from saebench.explaining.source import Source

__all__ = ["EndpointConfig", "ExplainConfig", "Source"]
