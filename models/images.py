"""Reading an image from an answer: of `POST /images/generations`, or of a chat model that paints.

Chat models that take pictures along with the prompt give theirs in `message.images`, as data URIs; so do the gateways
that serve image models over `POST /chat/completions`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Any

from prefect_datagen.engine.chat import ImageAnswer, ImageRequest
from prefect_datagen.models.completion import Reply, read_payload, token_counts, unusable

_LINK = (
    "the image is a link, which is not followed; ask for base64 in the model's extra_body: {response_format: b64_json}"
)


def image_chat_body(request: ImageRequest) -> dict[str, Any]:
    """The body of `POST /chat/completions` for an image that is made from other media."""
    content = [*request.parts, {"type": "text", "text": request.prompt}]
    return {
        "model": request.model,
        "messages": [{"role": "user", "content": content}],
        "modalities": ["image", "text"],
        **request.parameters,
    }


def read_image(reply: Reply, *, redact: Callable[[str], str]) -> ImageAnswer:
    """The first image in the reply of the image route.

    Raises:
        ModelError: the reply is an error, or holds no image as base64.
    """
    payload = read_payload(reply, "data", redact=redact)
    found = [text for each in payload["data"] if isinstance(each, dict) for text in _strings(each, "b64_json", "url")]
    return _image(reply, payload, found, redact=redact)


def read_chat_image(reply: Reply, *, redact: Callable[[str], str]) -> ImageAnswer:
    """The first image in a chat model's message.

    Raises:
        ModelError: the reply is an error, or holds no image as base64.
    """
    payload = read_payload(reply, "choices", redact=redact)
    choice = payload["choices"][0]
    message = choice.get("message") if isinstance(choice, dict) else None
    return _image(reply, payload, list(_links(message)), redact=redact)


def _links(message: Any) -> Iterator[str]:
    """The URLs of `image_url` parts in a message's `images` and `content`."""
    for name in ("images", "content"):
        parts = message.get(name) if isinstance(message, dict) else None
        for part in parts if isinstance(parts, list) else []:
            link = part.get("image_url") if isinstance(part, dict) else None
            yield from _strings(link, "url") if isinstance(link, dict) else [link] if isinstance(link, str) else []


def _strings(values: dict[str, Any], *names: str) -> list[str]:
    return [values[name] for name in names if isinstance(values.get(name), str) and values[name]]


def _image(reply: Reply, payload: dict[str, Any], found: list[str], *, redact: Callable[[str], str]) -> ImageAnswer:
    if not found:
        raise unusable(reply, "the answer holds no image", redact=redact)
    first = found[0]
    if first.startswith(("http://", "https://")):
        raise unusable(reply, _LINK, redact=redact)
    text = first.partition(",")[2] if first.startswith("data:") else first
    try:
        image = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise unusable(reply, f"the image is not base64: {error}", redact=redact) from error
    if not image:
        raise unusable(reply, "the image is empty", redact=redact)
    return ImageAnswer(image, *token_counts(payload))
