"""What an index can be told."""

from pydantic import Field

from saebench.config import CorpusConfig, Section


class IndexConfig(Section):
    """Which text an SAE's features are looked up in, and how much is kept beside the codes."""

    corpus: CorpusConfig = Field(
        CorpusConfig(name="stdlib-heldout"), description="the text; best one the SAE was not trained on"
    )
    batch_contexts: int = Field(32, ge=1, description="contexts per forward pass")
    part_batches: int = Field(8, ge=1, description="forward passes per finished part: what a kill can lose")
    neighbours: int = Field(12, ge=1, description="nearest features by decoder cosine that are kept")
    logit_tokens: int = Field(12, ge=1, description="promoted and suppressed tokens that are kept")
    logit_bins: int = Field(48, ge=2, description="bins of the histogram of a feature's logit weights")
    attributions: int = Field(
        4,
        ge=0,
        le=20,
        description="strongest examples that are traced to source tokens, for attention outputs",
    )
    parts: str | None = Field(
        None, description="folder or URL (fsspec) where parts of several machines come together; default: none needed"
    )
    memory_gib: float = Field(2.0, ge=0.25, description="what sorting the index may take, in GiB; the file is the same")


class MapConfig(Section):
    """How the map of an SAE's decoder directions is drawn (UMAP)."""

    neighbours: int = Field(15, ge=3, description="nearest rows that each row is held to, itself among them")
    min_dist: float = Field(0.1, ge=0, le=1, description="how close points may lie: smaller makes tighter clumps")
    epochs: int = Field(300, ge=10, description="rounds of layout")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="of the layout")
