"""Model configs and providers, in the words of NVIDIA NeMo Data Designer's serialized configs.

A *model config* gives a model an alias, its provider and its inference parameters; a *provider* is an endpoint.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class UniformDistributionParams(_Config):
    """Bounds of a uniform distribution."""

    low: float
    high: float


class UniformDistribution(_Config):
    """A parameter drawn anew for each row, evenly between two bounds."""

    distribution_type: Literal["uniform"] = "uniform"
    params: UniformDistributionParams


class ManualDistributionParams(_Config):
    """Values and their unnormalised weights."""

    values: list[float] = Field(min_length=1)
    weights: list[float] | None = None


class ManualDistribution(_Config):
    """A parameter drawn anew for each row from a list of values."""

    distribution_type: Literal["manual"] = "manual"
    params: ManualDistributionParams


Distribution = Annotated[UniformDistribution | ManualDistribution, Field(discriminator="distribution_type")]


class _InferenceParameters(_Config):
    max_parallel_requests: int = Field(
        default=4, ge=1, description="Ceiling of requests in flight for this alias in one process."
    )
    timeout: float | None = Field(default=None, gt=0, description="Seconds that one whole call may take.")
    extra_body: dict[str, Any] | None = Field(default=None, description="Fields added to each request's body.")


class ChatInferenceParameters(_InferenceParameters):
    """Parameters of chat completions."""

    generation_type: Literal["chat-completion"] = "chat-completion"
    temperature: float | Distribution | None = Field(default=None, description="A number, or drawn for each row.")
    top_p: float | Distribution | None = Field(default=None, description="A number, or drawn for each row.")
    max_tokens: int | None = Field(default=None, ge=1, description="Most tokens of one answer.")


class EmbeddingInferenceParameters(_InferenceParameters):
    """Parameters of embeddings."""

    generation_type: Literal["embedding"] = "embedding"
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)


class ImageInferenceParameters(_InferenceParameters):
    """Parameters of image generation."""

    generation_type: Literal["image"] = "image"


InferenceParameters = Annotated[
    ChatInferenceParameters | EmbeddingInferenceParameters | ImageInferenceParameters,
    Field(discriminator="generation_type"),
]


class Price(_Config):
    """What a model costs, per million tokens, in one currency of your choice."""

    input: float = Field(default=0.0, ge=0)
    output: float = Field(default=0.0, ge=0)


class ModelConfig(_Config):
    """A model that columns name by its alias."""

    alias: str = Field(min_length=1)
    model: str = Field(min_length=1, description="Name that the endpoint knows the model by.")
    provider: str = Field(default="offline", description="Name of one of `model_providers`, or `offline`.")
    inference_parameters: InferenceParameters = Field(default_factory=ChatInferenceParameters)
    skip_health_check: bool = False
    price: Price | None = Field(default=None, description="For cost estimates, `max_cost` and the accounting.")
    rpm: int | None = Field(default=None, ge=1, description="Most requests per minute.")
    tpm: int | None = Field(default=None, ge=1, description="Most tokens per minute.")


class ModelProvider(_Config):
    """An endpoint. `api_key` is the name of an environment variable or a `{{ $block }}` reference, never logged."""

    name: str = Field(min_length=1)
    endpoint: str = Field(default="", description="Base URL, such as http://127.0.0.1:8000/v1.")
    provider_type: str = Field(default="openai", description="`openai` (any OpenAI-compatible endpoint) or `offline`.")
    api_key: str | None = Field(default=None, description="Name of the environment variable that holds the key.")
    extra_body: dict[str, Any] | None = None
    extra_headers: dict[str, str] | None = None
    connect_timeout: float = Field(default=10.0, gt=0, description="Seconds to open a connection.")
    read_timeout: float = Field(default=120.0, gt=0, description="Seconds without a byte.")
