"""The block `OfflineModel`: a built-in model for trying things out; its answers say that they are no model's."""

from __future__ import annotations

from prefect.blocks.core import Block
from pydantic import Field

from prefect_datagen.models.config import ModelProvider


class OfflineModel(Block):
    """A deterministic model that needs no network and no key. For trials, tests and schedules' dry runs.

    Attributes:
        provider: name by which `model_configs[].provider` means this model.

    Example:
        ```python
        from prefect_datagen.blocks import OfflineModel

        OfflineModel(provider="nvidia").save("stand-in", overwrite=True)  # the config of a real run, run offline
        ```
    """

    _block_type_name = "Offline Model"
    _block_type_slug = "offline-model"
    _logo_url = "https://raw.githubusercontent.com/PrefectHQ/prefect/main/docs/logos/pnad-light.png"  # type: ignore[assignment]
    _documentation_url = "https://github.com/prefect-datagen/prefect-datagen/blob/main/docs/models.md"  # type: ignore[assignment]

    provider: str = Field(default="offline", description="Name that configs call this model by.")

    def as_provider(self) -> ModelProvider:
        """The provider config that this block stands for."""
        return ModelProvider(name=self.provider, provider_type="offline")
