"""What explaining can be told."""

from pydantic import Field

from saebench.config import Section


class EndpointConfig(Section):
    """A language model behind an OpenAI-compatible interface. Without a URL, nothing is ever sent anywhere."""

    url: str | None = Field(None, description="base URL, as in http://127.0.0.1:8000/v1")
    model: str | None = Field(None, description="the model's name there")
    key_variable: str = Field(
        "SAEBENCH_API_KEY", description="environment variable that holds the key, if one is needed"
    )
    temperature: float | None = Field(0.0, description="of the answers; null: the server's own")
    concurrency: int = Field(8, ge=1, description="requests at once")
    timeout: float = Field(120.0, gt=0, description="seconds to wait for an answer")
    retries: int = Field(5, ge=0, description="further tries after a failure that may pass")


class ExplainConfig(Section):
    """How features are explained, and how the explanations are scored."""

    seed: int = Field(0, ge=0, description="which documents explain and which score, and which examples are drawn")
    max_tokens: int = Field(2_000_000, ge=2, description="sample of the index's text (whole contexts), both halves")
    fraction: float = Field(0.5, gt=0, le=1, description="a feature is strong above this share of its maximum (n2g)")
    window: int = Field(32, ge=2, description="tokens of an example shown to a language model or an encoder")
    examples: int = Field(20, ge=1, description="strongest examples shown to the language model that explains")
    positives: int = Field(40, ge=1, description="examples per feature that the feature is active in, when scoring")
    negatives: int = Field(40, ge=1, description="… and that it is not active in, half of them hard")
    per_prompt: int = Field(5, ge=1, description="examples judged in one request")
    encoder: str | None = Field(None, description="sentence-transformers folder or name, for --score embedding")
    endpoint: EndpointConfig = EndpointConfig()
