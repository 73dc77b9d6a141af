"""What a flow was given, as values: from Python, from the run form, from a deployment.

Prefect's own validation is off for the flows of this package (`validate_parameters=False`). It takes every dictionary
that has a `$ref`, wherever it stands, for a reference to a block, and so refuses configs that hold a JSON schema; and
where one parameter is wrong it logs them all, with whatever they hold.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from prefect.blocks.core import Block
from pydantic import Field, GetJsonSchemaHandler, TypeAdapter, ValidationError

from prefect_datagen.blocks.model_endpoint import ModelEndpoint
from prefect_datagen.blocks.offline_model import OfflineModel
from prefect_datagen.blocks.parquet_sink import ParquetRowGroupSink
from prefect_datagen.config.problems import from_validation_error
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.plugins import plugin_types

T = TypeVar("T")

NumRecords = Annotated[int, Field(ge=0, description="Rows to build.")]


class _BlockPicker:
    """Prefect's run form picks the items of a list from saved blocks where they are of one type; of two it asks for JSON.

    So it is told of the first type. A saved block of the other is taken, too, from whoever names it.
    """

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        picked: dict[str, Any] = handler(schema)["anyOf"][0]
        return picked


Endpoints = list[Annotated[ModelEndpoint | OfflineModel, _BlockPicker()]]

_sink: TypeAdapter[ParquetRowGroupSink] = TypeAdapter(ParquetRowGroupSink)
_endpoint: TypeAdapter[ModelEndpoint | OfflineModel] = TypeAdapter(ModelEndpoint | OfflineModel)
_model_endpoint: TypeAdapter[ModelEndpoint] = TypeAdapter(ModelEndpoint)
_count: TypeAdapter[int] = TypeAdapter(NumRecords)


def read(value: Any, kind: type[T], *, name: str) -> T:
    """A parameter of this type.

    Raises:
        ConfigError: it is not, with every field that is wrong.
    """
    return _read(value, TypeAdapter(kind), name=name)


def read_count(value: Any, *, name: str = "num_records") -> int:
    """A number of rows. Raises `ConfigError` where it is none."""
    return _read(value, _count, name=name)


def read_sink(value: Any, *, name: str = "sink") -> ParquetRowGroupSink:
    """A sink: a block, a reference to a saved one, its name (`parquet-row-group-sink/NAME`), or its fields.

    Plug-ins of the family `sinks` are loaded before, so that saved blocks of their types are known.

    Raises:
        ConfigError: it is none of these, or there is no such block.
    """
    if not isinstance(value, ParquetRowGroupSink):
        plugin_types("sinks", ParquetRowGroupSink)
    return _read(resolved(value, name=name), _sink, name=name)


def read_endpoints(value: Any, *, name: str = "endpoints") -> list[ModelEndpoint | OfflineModel]:
    """Model endpoints, each as in `read_sink`.

    Raises:
        ConfigError: one of them is wrong.
    """
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{name}: expected a list of model endpoints (got {type(value).__name__})")
    return [read_endpoint(each, name=f"{name}[{at}]") for at, each in enumerate(value)]


def read_endpoint(value: Any, *, name: str) -> ModelEndpoint | OfflineModel:
    """A model endpoint, as in `read_sink`. Raises `ConfigError` where it is none."""
    found = resolved(value, name=name)
    if isinstance(found, dict) and not found.keys() <= OfflineModel.model_fields.keys():
        # Blocks take fields that they do not know: a mistake in an endpoint must not make it the offline model.
        return _read(found, _model_endpoint, name=name)
    return _read(found, _endpoint, name=name)


def resolved(value: Any, *, name: str) -> Any:
    """The block that a reference or a name means; any other value as it is.

    Raises:
        ConfigError: there is no such block.
    """
    try:
        if isinstance(value, dict) and isinstance(value.get("$ref"), dict):
            return Block.load_from_ref(value["$ref"], _sync=True)  # type: ignore[call-arg]
        if isinstance(value, str) and value.count("/") == 1:
            return Block.load(value, _sync=True)  # type: ignore[call-arg]
    except (ValueError, RuntimeError) as error:  # Prefect's ways to say that there is none
        raise ConfigError(f"{name}: there is no block {value!r}; save it in the UI or from Python") from error
    return value


def _read(value: Any, adapter: TypeAdapter[T], *, name: str) -> T:
    if isinstance(value, Block):
        return _checked_block(value, adapter, name=name)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        problems = [problem.text() for problem in from_validation_error(error, (name,), value)]
        raise ConfigError("\n".join(problems), problems=problems) from None  # its cause would show the values


def _checked_block(value: Block, adapter: TypeAdapter[T], *, name: str) -> T:
    try:
        return adapter.validate_python(value)
    except ValidationError:
        raise ConfigError(f"{name}: a block of type {type(value).__name__} does not fit here") from None
