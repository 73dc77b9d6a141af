"""Reading the answer of `POST /embeddings`: one vector for each text, or an error classified as for chat."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefect_datagen.engine.chat import EmbeddingAnswer
from prefect_datagen.models.completion import Reply, read_payload, token_counts, unusable


def read_embeddings(reply: Reply, *, texts: int, redact: Callable[[str], str]) -> EmbeddingAnswer:
    """The vectors in a reply, in the order of the texts, whatever the order they came in.

    Raises:
        ModelError: the reply is an error, or does not hold `texts` vectors of one length.
    """
    payload = read_payload(reply, "data", redact=redact)
    data = payload["data"]
    if len(data) != texts:
        raise unusable(reply, f"the answer holds {len(data)} vectors for {texts} texts", redact=redact)
    vectors: list[NDArray[np.float32] | None] = [None] * texts
    for position, each in enumerate(data):
        index = each.get("index", position) if isinstance(each, dict) else position
        vector = _vector(each.get("embedding")) if isinstance(each, dict) else None
        if vector is None or not isinstance(index, int) or not 0 <= index < texts or vectors[index] is not None:
            raise unusable(reply, f"number {position} of the answer's vectors is none", redact=redact)
        vectors[index] = vector
    found = [vector for vector in vectors if vector is not None]
    if len({len(vector) for vector in found}) > 1:
        raise unusable(reply, "the answer's vectors differ in length", redact=redact)
    return EmbeddingAnswer([vector.tolist() for vector in found], *token_counts(payload))


def _vector(value: Any) -> NDArray[np.float32] | None:
    """A vector of finite 32-bit floats from a list of numbers, or base64 of little-endian floats; None if it is none."""
    try:
        if isinstance(value, str):
            vector = np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4")
        elif isinstance(value, list) and all(type(number) in (float, int) for number in value):
            with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as that
                vector = np.asarray(value, dtype=np.float64).astype("<f4")
        else:
            return None
    except (binascii.Error, ValueError, OverflowError):
        return None
    return vector if vector.size and bool(np.isfinite(vector).all()) else None
