"""Images, audio and video as parts of a message."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from prefect_datagen.columns.media import MediaParts, MultiModalContext, image_format
from prefect_datagen.engine.errors import CellError

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 40
PNG_64 = base64.b64encode(PNG).decode()
WAV_64 = base64.b64encode(b"RIFF0000WAVE").decode()
CONTEXT: TypeAdapter[Any] = TypeAdapter(MultiModalContext)


def parts(value: Any, *, artifact_dir: Path | None = None, **fields: Any) -> list[dict[str, Any]]:
    context = CONTEXT.validate_python({"column_name": "media", **fields})
    return asyncio.run(MediaParts([context], artifact_dir).of_row({"media": value}))


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


@pytest.mark.parametrize(
    ("value", "fields", "expected"),
    [
        ("https://host/a.png", {}, [image("https://host/a.png")]),
        ("gs://bucket/a.png", {"data_type": "url"}, [image("gs://bucket/a.png")]),
        (PNG_64, {}, [image(f"data:image/png;base64,{PNG_64}")]),
        ("\n".join((PNG_64[:40], PNG_64[40:], "")), {}, [image(f"data:image/png;base64,{PNG_64}")]),
        (PNG, {}, [image(f"data:image/png;base64,{PNG_64}")]),
        (PNG_64, {"data_type": "base64", "image_format": "jpg"}, [image(f"data:image/jpeg;base64,{PNG_64}")]),
        (f"data:image/webp;base64,{PNG_64}", {}, [image(f"data:image/webp;base64,{PNG_64}")]),
        (["http://h/1", "http://h/2"], {}, [image("http://h/1"), image("http://h/2")]),
        ('["http://h/1", "http://h/2"]', {}, [image("http://h/1"), image("http://h/2")]),
        (None, {}, []),
        ([], {}, []),
        (
            WAV_64,
            {"modality": "audio", "audio_format": "wav"},
            [{"type": "input_audio", "input_audio": {"data": WAV_64, "format": "wav"}}],
        ),
        (
            f"data:audio/mpeg;base64,{WAV_64}",
            {"modality": "audio"},
            [{"type": "input_audio", "input_audio": {"data": WAV_64, "format": "mp3"}}],
        ),
        ("http://h/a.mp3", {"modality": "audio"}, [{"type": "audio_url", "audio_url": {"url": "http://h/a.mp3"}}]),
        (
            WAV_64,
            {"modality": "video", "video_format": "mov"},
            [{"type": "video_url", "video_url": {"url": f"data:video/quicktime;base64,{WAV_64}"}}],
        ),
    ],
)
def test_each_kind_of_value_becomes_its_part(value: Any, fields: Any, expected: list[dict[str, Any]]) -> None:
    assert parts(value, **fields) == expected


@pytest.mark.parametrize(
    ("value", "fields", "message"),
    [
        ("a nice picture", {}, "no URL and no base64"),
        ("[not a list", {}, "no URL and no base64"),
        ("", {}, "neither text nor bytes"),
        (5, {}, "neither text nor bytes"),
        (base64.b64encode(b"what is this?").decode(), {}, "not a known image"),
        (f"data:audio/wav;base64,{WAV_64}", {}, "is no image"),
        (WAV_64, {"modality": "audio"}, "audio_format"),
    ],
)
def test_what_cannot_be_sent_loses_the_row(value: Any, fields: Any, message: str) -> None:
    with pytest.raises(CellError) as caught:
        parts(value, **fields)
    assert message in caught.value.message
    assert caught.value.reason == "media"
    assert len(caught.value.message) < 200


def test_files_of_the_dataset_are_read_and_no_others(tmp_path: Path) -> None:
    artifacts = tmp_path / "dataset" / "artifacts"
    (artifacts / "photo").mkdir(parents=True)
    (artifacts / "photo" / "00000001.png").write_bytes(PNG)
    (tmp_path / "dataset" / "secret.png").write_bytes(PNG)
    assert parts("artifacts/photo/00000001.png", artifact_dir=artifacts) == [image(f"data:image/png;base64,{PNG_64}")]
    for value in ("secret.png", "artifacts/../secret.png", str(tmp_path / "dataset" / "secret.png"), "artifacts"):
        with pytest.raises(CellError):
            parts(value, artifact_dir=artifacts)


def test_formats_are_told_from_the_first_bytes() -> None:
    assert image_format(PNG) == "png"
    assert image_format(b"\xff\xd8\xff\xe0") == "jpeg"
    assert image_format(b"GIF89a") == "gif"
    assert image_format(b"RIFF\x00\x00\x00\x00WEBPVP8 ") == "webp"
    assert image_format(b"<html>") is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"modality": "audio", "data_type": "base64"}, "audio_format is required"),
        ({"modality": "video", "data_type": "base64"}, "video_format is required"),
        ({"modality": "smell"}, "smell"),
        ({"image_format": "bmp"}, "image_format"),
    ],
)
def test_mistakes_in_the_config_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CONTEXT.validate_python({"column_name": "media", **fields})
