"""Config models that are told apart by one field, each imported when the first config names it.

pydantic's own unions want all members when they are built, with validators, and all that the members' modules import:
half of the time of a check of a config that names three of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, reduce
from operator import or_
from pkgutil import resolve_name
from typing import Annotated, Any, get_args

from pydantic import BaseModel, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticKnownError, core_schema


class Kinds:
    """Marks an annotation: `Annotated[Base, Kinds("tag_field", {"tag": "package.module:Model"})]`.

    Values are validated, and errors told, as pydantic's discriminated union would; the JSON schema is the union's.

    Args:
        tag: field that says which model it is.
        homes: module and name of each model, by tag.
        untold: the tag that a mapping without one means.
        plugins: gives models of other packages. Called for a tag that is not in `homes`, and for the JSON schema.
    """

    def __init__(
        self,
        tag: str,
        homes: Mapping[str, str],
        *,
        untold: Callable[[Mapping[str, Any]], str] | None = None,
        plugins: Callable[[], Iterable[type[BaseModel]]] = tuple,
    ) -> None:
        self._tag = tag
        self._homes = homes
        self._untold = untold
        self._plugins = plugins

    def __repr__(self) -> str:
        return f"Kinds({self._tag!r}, {', '.join(self._homes)})"

    def models(self) -> list[type[BaseModel]]:
        """All of them, in order; those of plug-ins last."""
        return [*map(resolve_name, dict.fromkeys(self._homes.values())), *self._of_plugins.values()]

    @cached_property
    def _of_plugins(self) -> dict[Any, type[BaseModel]]:
        return {tag: model for model in self._plugins() for tag in get_args(model.model_fields[self._tag].annotation)}

    def _read(self, value: Any) -> BaseModel:
        given = value.get(self._tag) if isinstance(value, Mapping) else getattr(value, self._tag, None)
        if given is None and self._untold is not None and isinstance(value, Mapping):
            given = self._untold(value)
        if given is None:
            if not isinstance(value, (Mapping, BaseModel)):
                raise PydanticKnownError("model_attributes_type")
            raise PydanticKnownError("union_tag_not_found", {"discriminator": repr(self._tag)})
        return self._model(getattr(given, "value", given)).model_validate(value)

    def _model(self, tag: Any) -> type[BaseModel]:
        if isinstance(tag, str) and tag in self._homes:
            found: type[BaseModel] = resolve_name(self._homes[tag])
            return found
        if isinstance(tag, str) and tag in self._of_plugins:
            return self._of_plugins[tag]
        known = ", ".join(map(repr, (*self._homes, *self._of_plugins)))
        context = {"discriminator": repr(self._tag), "tag": str(tag), "expected_tags": known}
        raise PydanticKnownError("union_tag_invalid", context)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        union: Any = Annotated[reduce(or_, self.models()), Field(discriminator=self._tag)]
        return handler(TypeAdapter(union).core_schema)


class Later:
    """Marks an annotation with one model, imported with the first value: `Annotated[Any, Later("package.module:Model")]`."""

    def __init__(self, home: str) -> None:
        self._home = home

    def _model(self) -> type[BaseModel]:
        found: type[BaseModel] = resolve_name(self._home)
        return found

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(lambda value: self._model().model_validate(value))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(self._model().__pydantic_core_schema__)
