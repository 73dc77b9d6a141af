"""Multi-modal context: images, audio and video from a column as parts of the user's message.

Parts are as OpenAI-compatible endpoints take them: `image_url`, `audio_url` and `video_url` for addresses and data
URIs, `input_audio` for audio as base64.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson

from prefect_datagen.columns.kinds import Kinds
from prefect_datagen.engine.errors import CellError

Part = dict[str, Any]

_DATA_URI = re.compile(r"data:(?P<media_type>[^;,]+);base64,(?P<data>.*)", re.DOTALL)
_MAGIC = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"))
_MEDIA_TYPES = {
    "jpg": "image/jpeg",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
}


if TYPE_CHECKING:
    from prefect_datagen.columns.media_contexts import AudioContext, ImageContext, VideoContext

    MultiModalContext = ImageContext | AudioContext | VideoContext
else:  # few columns have contexts
    _CONTEXTS = "prefect_datagen.columns.media_contexts:"
    MultiModalContext = Annotated[
        Any,
        Kinds(
            "modality",
            {
                "image": _CONTEXTS + "ImageContext",
                "audio": _CONTEXTS + "AudioContext",
                "video": _CONTEXTS + "VideoContext",
            },
            untold=lambda context: "image",  # those written before there was anything else
        ),
    ]


class MediaParts:
    """Makes the parts of a row's message. `artifact_dir`: where image columns of the same dataset keep their files."""

    def __init__(self, contexts: Sequence[MultiModalContext], artifact_dir: Path | None) -> None:
        self._contexts = contexts
        self._artifact_dir = None if artifact_dir is None else artifact_dir.resolve()

    async def of_row(self, inputs: Mapping[str, Any]) -> list[Part]:
        """Parts for all values of all contexts, in order. A missing value gives none.

        Raises:
            CellError: reason "media": a value is nothing that can be sent.
        """
        return [
            await self._part(context, value)
            for context in self._contexts
            for value in _values(inputs[context.column_name])
        ]

    async def _part(self, context: MultiModalContext, value: Any) -> Part:
        import asyncio  # with its network code, which the check of a config does not need

        if isinstance(value, (bytes, bytearray)):
            return _data_part(context, None, base64.b64encode(value).decode())
        if not isinstance(value, str) or not value.strip():
            raise _refused(context, value, "is neither text nor bytes")
        if context.data_type == "url" or (context.data_type is None and value.startswith(("http://", "https://"))):
            return _url_part(context, value)
        uri = _DATA_URI.fullmatch(value)
        if uri is not None:
            return _data_part(context, uri["media_type"], uri["data"])
        file = self._artifact(value) if context.data_type is None else None
        if file is not None:
            return _data_part(context, None, base64.b64encode(await asyncio.to_thread(file.read_bytes)).decode())
        return _data_part(context, None, "".join(value.splitlines()))

    def _artifact(self, value: str) -> Path | None:
        """The file of this dataset that a value names, as image columns write it. No other file is ever read."""
        if self._artifact_dir is None or len(value) > 1024 or "\x00" in value:
            return None
        path = (self._artifact_dir.parent / value).resolve()
        return path if path.is_relative_to(self._artifact_dir) and path.is_file() else None


def _values(value: Any) -> Iterator[Any]:
    """A cell's value, or those of the list that it is; a list may be written as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(orjson.JSONDecodeError):  # where it is no list, `_part` says what is wrong with it
            value = orjson.loads(value)
    if isinstance(value, (list, tuple)):
        yield from value
    elif value is not None:
        yield value


def _url_part(context: MultiModalContext, url: str) -> Part:
    kind = f"{context.modality}_url"
    return {"type": kind, kind: {"url": url}}


def _data_part(context: MultiModalContext, media_type: str | None, data: str) -> Part:
    if media_type is None:
        media_type = _media_type(context, data)
    if not media_type.startswith(f"{context.modality}/"):
        raise _refused(context, f"data:{media_type};base64,...", f"is no {context.modality}")
    if context.modality == "audio":
        return {"type": "input_audio", "input_audio": {"data": data, "format": _audio_format(context, media_type)}}
    return _url_part(context, f"data:{media_type};base64,{data}")


def _media_type(context: MultiModalContext, data: str) -> str:
    """The media type of base64 data: as the config says or, for images, as the data says."""
    try:
        start = base64.b64decode(data[:64], validate=True)
        valid = len(data) % 4 == 0
    except (binascii.Error, ValueError):
        start, valid = b"", False
    if not valid:
        raise _refused(context, data, "is no URL and no base64")
    name = context.media_format or (image_format(start) if context.modality == "image" else None)
    if name is None:
        what = "a known image" if context.modality == "image" else f"said to be of any {context.modality}_format"
        raise _refused(context, data, f"is base64 that is not {what}")
    return _MEDIA_TYPES.get(name, f"{context.modality}/{name}")


def image_format(data: bytes) -> str | None:
    """png, jpeg, gif or webp by the first bytes; None for anything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((name for magic, name in _MAGIC if data.startswith(magic)), None)


def _audio_format(context: MultiModalContext, media_type: str) -> str:
    if context.media_format is not None:
        return context.media_format
    subtype = media_type.partition("/")[2].lower()
    return "mp3" if subtype in ("mpeg", "mp3") else "wav" if "wav" in subtype else subtype


def _refused(context: MultiModalContext, value: Any, why: str) -> CellError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return CellError(f"{context.modality} from column {context.column_name!r}: {shown} {why}", reason="media")
