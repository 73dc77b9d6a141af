"""Model configs and providers, in the words of NVIDIA NeMo Data Designer's serialized configs.

A *model config* gives a model an alias, its provider and its inference parameters; a *provider* is an endpoint.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_serializer, field_validator, model_validator

PROVIDER_TYPES = ("openai", "anthropic", "offline")
"""What a provider can be without more: `openai` serves every OpenAI-compatible endpoint, `offline` needs none. Any other
type is one of litellm's (`models/litellm_client.py`)."""

MASK = "**********"
"""Stands for a secret wherever a config is written."""

_SECRET_NAME = re.compile("auth|key|token|secret|cookie|password", re.IGNORECASE)
_VARIABLE_NAME = re.compile("[A-Z_][A-Z0-9_]*")
_NOT_IN_NAMES = re.compile("[^A-Za-z0-9._-]+")


def names_variable(text: str) -> bool:
    """Whether a key's text is the name of an environment variable (`OPENAI_API_KEY`) rather than the key itself."""
    return "_" in text and _VARIABLE_NAME.fullmatch(text) is not None


def names_secret(name: str) -> bool:
    """Whether a header or query parameter of this name holds a secret, by the look of it."""
    return _SECRET_NAME.search(name) is not None


def masked(text: str) -> str:
    """What stands for a secret in writing: names of variables and references to blocks say where it is, and may stand."""
    return text if names_variable(text) or "{{" in text else MASK


class Strict(BaseModel):
    """Base of all configs here: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class UniformDistributionParams(Strict):
    """Bounds of a uniform distribution."""

    low: float
    high: float

    @model_validator(mode="after")
    def _low_is_below_high(self) -> UniformDistributionParams:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        return self


class UniformDistribution(Strict):
    """A parameter drawn anew for each row, evenly between two bounds."""

    distribution_type: Literal["uniform"] = "uniform"
    params: UniformDistributionParams


class ManualDistributionParams(Strict):
    """Values and their unnormalised weights."""

    values: list[float] = Field(min_length=1)
    weights: list[float] | None = None

    @model_validator(mode="after")
    def _one_weight_for_each_value(self) -> ManualDistributionParams:
        if self.weights is None:
            return self
        if len(self.weights) != len(self.values):
            raise ValueError(f"{len(self.weights)} weights for {len(self.values)} values")
        if min(self.weights) < 0 or sum(self.weights) <= 0:
            raise ValueError(f"weights {self.weights!r} are not shares: none below 0, and at least one above")
        return self


class ManualDistribution(Strict):
    """A parameter drawn anew for each row from a list of values."""

    distribution_type: Literal["manual"] = "manual"
    params: ManualDistributionParams


Distribution = Annotated[UniformDistribution | ManualDistribution, Field(discriminator="distribution_type")]


class _InferenceParameters(Strict):
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

    @field_validator("temperature", "top_p", mode="before")
    @classmethod
    def _name_distribution(cls, value: Any) -> Any:
        """The fields of `params` tell the two distributions apart where `distribution_type` is left out."""
        if isinstance(value, dict) and isinstance(value.get("params"), dict) and not value.get("distribution_type"):
            return {**value, "distribution_type": "manual" if "values" in value["params"] else "uniform"}
        return value

    @field_validator("temperature", "top_p")
    @classmethod
    def _within_limits(cls, value: float | Distribution | None, info: ValidationInfo) -> float | Distribution | None:
        limit = 2.0 if info.field_name == "temperature" else 1.0
        for number in _numbers(value):
            if not 0 <= number <= limit:
                raise ValueError(f"{number:g} is not from 0 to {limit:g}")
        return value


def _numbers(value: float | Distribution | None) -> list[float]:
    """All that a parameter can be, at its ends."""
    if isinstance(value, UniformDistribution):
        return [value.params.low, value.params.high]
    if isinstance(value, ManualDistribution):
        return value.params.values
    return [] if value is None else [value]


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


class Price(Strict):
    """What a model costs, per million tokens, in one currency of your choice."""

    input: float = Field(default=0.0, ge=0)
    output: float = Field(default=0.0, ge=0)


class Mode(StrEnum):
    """How a model is asked."""

    LIVE = "live"  # one HTTP call for each request
    BATCH = "batch"  # many requests in one file, answered within hours, at a lower price


class BatchParameters(Strict):
    """When batches go out, how often they are asked for, and what they cost. The limits are those of OpenAI's Batch API."""

    max_requests: int = Field(default=50_000, ge=1, le=50_000, description="Most requests of one batch.")
    max_bytes: int = Field(default=200_000_000, ge=1_000, le=200_000_000, description="Most bytes of one batch's file.")
    linger_seconds: float = Field(
        default=10.0, ge=0, description="A batch that is not full goes out when no request has come for so long."
    )
    longest_wait_seconds: float = Field(
        default=1800.0, gt=0, description="It goes out after so long even where requests go on coming."
    )
    poll_seconds: float = Field(default=10.0, gt=0, description="Seconds between the first two looks at a batch.")
    longest_poll_seconds: float = Field(
        default=300.0, gt=0, description="Seconds that this grows to, by half each time."
    )
    completion_window: str = Field(default="24h", min_length=1, description="What the provider is asked to keep to.")
    discount: float = Field(
        default=0.5, ge=0, le=1, description="What batches cost less than `price`, as a share of it."
    )
    price: Price | None = Field(default=None, description="What batches cost, where a discount does not tell.")

    def price_of(self, live: Price) -> Price:
        """The price in batches of a model that costs `live` otherwise."""
        share = 1 - self.discount
        return self.price or Price(input=live.input * share, output=live.output * share)


class EndpointConfig(Strict):
    """One of several endpoints that serve a model."""

    provider: str = Field(min_length=1, description="Name of one of `model_providers`, or `offline`.")
    weight: float = Field(default=1.0, gt=0, description="Share of the calls, beside the weights of the others.")
    model: str | None = Field(default=None, min_length=1, description="This endpoint's own name for the model.")
    price: Price | None = Field(default=None, description="What it costs at this endpoint.")


@dataclass(frozen=True)
class ModelEndpoint:
    """An endpoint of a model with nothing left to look up. `name` is what usage and progress call it."""

    provider: str
    model: str
    name: str
    weight: float
    price: Price


class SharedLimits(Strict):
    """Limits of a model over all runs, processes and machines together, kept by Prefect's server.

    They are one Prefect global concurrency limit, `datagen-model-NAME`; every process holds a share of its slots while
    it has row groups. What the server says counts: the numbers here are what the limit is created with.
    """

    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="The Prefect limit is `datagen-model-NAME`. Default: the model's name.",
    )
    max_parallel_requests: int | None = Field(
        default=None, ge=1, description="Requests in flight, over all processes: the slots of the Prefect limit."
    )
    rpm: int | None = Field(default=None, ge=1, description="Most requests per minute, over all processes.")
    tpm: int | None = Field(default=None, ge=1, description="Most tokens per minute, over all processes.")
    create: bool = Field(
        default=True, description="Create the Prefect limit where it is missing; false: refuse to run without it."
    )

    @model_validator(mode="after")
    def _limits_something(self) -> SharedLimits:
        if self.max_parallel_requests is None and self.rpm is None and self.tpm is None:
            raise ValueError("limits nothing: give max_parallel_requests, rpm or tpm")
        return self

    @property
    def slots(self) -> int:
        """Slots of the Prefect limit; where only rates are limited, the parts that they are cut into."""
        return self.max_parallel_requests or RATE_PARTS


RATE_PARTS = 100
"""Slots of a shared limit that limits rates only."""


class ModelConfig(Strict):
    """A model that columns name by its alias."""

    alias: str = Field(min_length=1)
    model: str = Field(min_length=1, description="Name that the endpoint knows the model by.")
    provider: str = Field(
        default="offline", description="Name of one of `model_providers`, or `offline`. Not beside `endpoints`."
    )
    endpoints: list[EndpointConfig] | None = Field(
        default=None,
        min_length=1,
        description="Several endpoints that serve this model and share its calls by weight; each stands in for the others.",
    )
    inference_parameters: InferenceParameters = Field(default_factory=ChatInferenceParameters)
    skip_health_check: bool = False
    price: Price | None = Field(default=None, description="For cost estimates, `max_cost` and the accounting.")
    rpm: int | None = Field(default=None, ge=1, description="Most requests per minute.")
    tpm: int | None = Field(default=None, ge=1, description="Most tokens per minute.")
    shared_limits: SharedLimits | None = Field(
        default=None, description="Limits over all runs, processes and machines together."
    )
    mode: Mode = Field(
        default=Mode.LIVE, description="`batch`: requests go to the provider's Batch API. Not in previews."
    )
    batch: BatchParameters = Field(default_factory=BatchParameters, description="Only with `mode: batch`.")

    @property
    def shared_limit_name(self) -> str:
        """Name of the Prefect limit that holds `shared_limits`."""
        given = self.shared_limits.name if self.shared_limits is not None else None
        return f"datagen-model-{given or _NOT_IN_NAMES.sub('-', self.model)}"

    @model_validator(mode="after")
    def _endpoints_stand_alone(self) -> ModelConfig:
        if self.endpoints is not None and "provider" in self.model_fields_set:
            raise ValueError("`provider` and `endpoints` exclude each other: name the provider as one of the endpoints")
        if self.mode is Mode.BATCH and len(self.endpoints or ()) > 1:
            raise ValueError("`mode: batch` takes one endpoint: a batch cannot be handed over to another")
        names = [endpoint.name for endpoint in self.all_endpoints()]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"endpoints: {twice!r} is named twice; give it once, with the sum of the weights")
        return self

    def all_endpoints(self) -> list[ModelEndpoint]:
        """The endpoints, in the order of the config; one where `endpoints` is left out."""
        given = self.endpoints or [EndpointConfig(provider=self.provider)]
        return [
            ModelEndpoint(
                provider=each.provider,
                model=each.model or self.model,
                name=each.provider if each.model is None else f"{each.provider}:{each.model}",
                weight=each.weight,
                price=each.price or self.price or Price(),
            )
            for each in given
        ]

    @field_validator("inference_parameters", mode="before")
    @classmethod
    def _name_generation_type(cls, value: Any) -> Any:
        """Chat where `generation_type` is left out, unless a field says that embeddings are meant."""
        if isinstance(value, dict) and not value.get("generation_type"):
            embeds = "encoding_format" in value or "dimensions" in value
            return {**value, "generation_type": "embedding" if embeds else "chat-completion"}
        return value


class ModelProvider(Strict):
    """An endpoint. A key that stands here literally works, and is masked wherever the config is written or shown."""

    name: str = Field(min_length=1)
    endpoint: str = Field(default="", description="Base URL, such as http://127.0.0.1:8000/v1.")
    provider_type: str = Field(
        default="openai",
        description="`openai` (any OpenAI-compatible endpoint), `anthropic`, `offline`, or one of litellm's.",
    )
    api_key: str | None = Field(
        default=None,
        repr=False,
        description="Name of the environment variable that holds the key, such as OPENAI_API_KEY.",
    )
    extra_body: dict[str, Any] | None = Field(default=None, description="Fields added to each request's body.")
    extra_headers: dict[str, str] | None = Field(
        default=None,
        repr=False,
        description="Headers added to each request; one that holds a secret may name an environment variable.",
    )
    connect_timeout: float = Field(default=10.0, gt=0, description="Seconds to open a connection.")
    read_timeout: float = Field(default=120.0, gt=0, description="Seconds without a byte.")

    @field_validator("provider_type")
    @classmethod
    def _lower(cls, value: str) -> str:
        return value.lower()

    @field_serializer("api_key")
    def _mask_key(self, value: str | None) -> str | None:
        return None if value is None else masked(value)

    @field_serializer("extra_headers")
    def _mask_headers(self, value: dict[str, str] | None) -> dict[str, str] | None:
        if value is None:
            return None
        return {name: masked(text) if names_secret(name) else text for name, text in value.items()}
