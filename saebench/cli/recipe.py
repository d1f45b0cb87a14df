"""One YAML file for the whole way from text to features: a section for each step.

The defaults are the demo's, so that an empty recipe is the demo. It stands on the top floor because the sections
belong to the steps below.
"""

from pathlib import Path

from pydantic import Field

from saebench.circuits.config import CircuitConfig
from saebench.config import CorpusConfig, HarvestConfig, ModelConfig, Section, load_recipe
from saebench.explaining.config import ExplainConfig
from saebench.indexing.config import IndexConfig, MapConfig
from saebench.interventions.dreaming.config import DreamConfig
from saebench.interventions.unlearning.config import UnlearnConfig
from saebench.training.config import TrainConfig


class EvaluateConfig(Section):
    """The held-out text on which an SAE is measured."""

    corpus: CorpusConfig = Field(
        CorpusConfig(name="stdlib-heldout", max_tokens=65_536), description="text it was not trained on"
    )
    batch_contexts: int = Field(32, ge=1, description="contexts per forward pass")


class Recipe(Section):
    """Every step's settings; a command reads the sections that it needs."""

    model: ModelConfig = ModelConfig()
    corpus: CorpusConfig = Field(CorpusConfig(max_tokens=1_250_000), description="text that is harvested")
    harvest: HarvestConfig = HarvestConfig()
    train: TrainConfig = TrainConfig(tokens=3_000_000)
    evaluate: EvaluateConfig = EvaluateConfig()
    index: IndexConfig = IndexConfig()
    map: MapConfig = MapConfig()
    explain: ExplainConfig = ExplainConfig()
    circuit: CircuitConfig = CircuitConfig()
    unlearn: UnlearnConfig = UnlearnConfig()
    dream: DreamConfig = DreamConfig()


def read_recipe(path: Path | None, overrides: list[str]) -> Recipe:
    """The recipe of a command line: a file (or the demo's defaults) and its `--set` overrides."""
    return load_recipe(Recipe, path, overrides)
