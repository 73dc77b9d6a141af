"""Config objects as the plain data that a config file holds."""

from __future__ import annotations

from enum import Enum
from typing import Any

from pydantic import BaseModel


def plain(value: Any) -> Any:
    """Models as mappings of their fields without those that are None, enums as their values; all else as it is.

    Serializers are not asked: they would turn functions into names, and leave data frames out.
    """
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        return {name: plain(each) for name, each in fields.items() if each is not None}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {plain(name): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value
