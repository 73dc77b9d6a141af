"""The block `ModelEndpoint`: an OpenAI-compatible endpoint and its key, kept by Prefect."""

from __future__ import annotations

from typing import Any

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from prefect_datagen.models.config import ModelProvider


class ModelEndpoint(Block):
    """An OpenAI-compatible model endpoint; it stands for the provider that configs call `provider`.

    Attributes:
        provider: name by which `model_configs[].provider` means this endpoint.
        base_url: such as `http://127.0.0.1:8000/v1`.
        api_key: the key, kept encrypted by Prefect; never in parameters, logs, artifacts or data.
        headers: sent with every request.
        extra_body: fields added to every request's body.
        connect_timeout: seconds to open a connection.
        read_timeout: seconds without a byte.

    Example:
        ```python
        from prefect_datagen.blocks import ModelEndpoint

        ModelEndpoint(provider="local", base_url="http://127.0.0.1:8000/v1", api_key="k").save("local", overwrite=True)
        endpoint = ModelEndpoint.load("local")
        ```
    """

    _block_type_name = "Model Endpoint"
    _block_type_slug = "model-endpoint"
    _logo_url = "https://raw.githubusercontent.com/PrefectHQ/prefect/main/docs/logos/pnad-light.png"  # type: ignore[assignment]
    _documentation_url = "https://github.com/prefect-datagen/prefect-datagen/blob/main/docs/models.md"  # type: ignore[assignment]

    provider: str = Field(default="default", description="Name that configs call this endpoint by.")
    base_url: str = Field(description="Base URL, such as http://127.0.0.1:8000/v1.")
    api_key: SecretStr | None = Field(default=None, description="The key.")
    headers: dict[str, str] = Field(default_factory=dict, description="Headers sent with every request.")
    extra_body: dict[str, Any] = Field(default_factory=dict, description="Fields added to every request's body.")
    connect_timeout: float = Field(default=10.0, gt=0, description="Seconds to open a connection.")
    read_timeout: float = Field(default=120.0, gt=0, description="Seconds without a byte.")

    def as_provider(self) -> ModelProvider:
        """The provider config that this block stands for; without the key."""
        return ModelProvider(
            name=self.provider,
            endpoint=self.base_url,
            extra_headers=self.headers or None,
            extra_body=self.extra_body or None,
            connect_timeout=self.connect_timeout,
            read_timeout=self.read_timeout,
        )
