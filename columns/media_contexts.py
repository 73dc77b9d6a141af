"""Multi-modal contexts as configs have them: which column holds images, audio or video."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from prefect_datagen.columns.base import Config


class _Context(Config):
    column_name: str = Field(description="Column with the media: a URL, base64, a data URI, bytes, or a list of such.")
    data_type: Literal["url", "base64"] | None = Field(
        default=None, description="What the column holds; told from each value where it is not given."
    )

    @property
    def media_format(self) -> str | None:
        """The format that base64 data is said to have."""
        raise NotImplementedError


class ImageContext(_Context):
    """Images from a column."""

    modality: Literal["image"] = "image"
    image_format: Literal["png", "jpg", "jpeg", "gif", "webp"] | None = Field(
        default=None, description="Format of base64 data; told from the data where it is not given."
    )

    @property
    def media_format(self) -> str | None:
        """`image_format`."""
        return self.image_format


class _Recording(_Context):
    """Media whose format is not told from the data."""

    modality: str

    @model_validator(mode="after")
    def _base64_has_a_format(self) -> Self:
        if self.data_type == "base64" and self.media_format is None:
            raise ValueError(f"{self.modality}_format is required where data_type is base64")
        return self


class AudioContext(_Recording):
    """Audio from a column."""

    modality: Literal["audio"] = "audio"
    audio_format: Literal["mp3", "wav"] | None = Field(default=None, description="Format of base64 data.")

    @property
    def media_format(self) -> str | None:
        """`audio_format`."""
        return self.audio_format


class VideoContext(_Recording):
    """Video from a column."""

    modality: Literal["video"] = "video"
    video_format: Literal["mp4", "mov", "webm"] | None = Field(default=None, description="Format of base64 data.")

    @property
    def media_format(self) -> str | None:
        """`video_format`."""
        return self.video_format
