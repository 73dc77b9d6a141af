"""The block `QuerySource`: a database that reports may ask, and its password, kept by Prefect."""

from __future__ import annotations

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.reports.database_sources import SQLAlchemySource
from prefect_datagen.reports.query import SourceLimits


class QuerySource(Block):
    """A database that reports may ask; a report names it with `type: block` and `block: NAME`.

    Attributes:
        url: SQLAlchemy URL with the password, kept encrypted by Prefect; never in logs, artifacts or reports.
        max_running: queries running at one time.
        timeout: seconds one query may run.
        ttl: seconds after which rows are fetched anew.

    Example:
        ```python
        from prefect_datagen.blocks.query_source import QuerySource

        QuerySource(url="postgresql+psycopg://reader:secret@warehouse/sales").save("warehouse", overwrite=True)
        source = QuerySource.load("warehouse").source()
        ```
    """

    _block_type_name = "Query Source"
    _block_type_slug = "query-source"
    _logo_url = "https://raw.githubusercontent.com/PrefectHQ/prefect/main/docs/logos/pnad-light.png"  # type: ignore[assignment]
    _documentation_url = "https://github.com/prefect-datagen/prefect-datagen/blob/main/docs/reports.md"  # type: ignore[assignment]

    url: SecretStr = Field(description="SQLAlchemy URL, such as postgresql+psycopg://reader:secret@host/database.")
    max_running: int = Field(default=4, ge=1, description="Queries running at one time.")
    timeout: float = Field(default=60.0, gt=0, description="Seconds one query may run.")
    ttl: float = Field(default=300.0, gt=0, description="Seconds after which rows are fetched anew.")

    def source(self, limits: SourceLimits | None = None) -> SQLAlchemySource:
        """The source that reports ask; `limits` of a report go before those of the block.

        Raises:
            ConfigError: SQLAlchemy refuses the URL, or its driver is not installed.
        """
        own = SourceLimits(max_running=self.max_running, timeout=self.timeout, ttl=self.ttl)
        return SQLAlchemySource(self.url.get_secret_value(), limits=limits or own)


def load_query_source(name: str, limits: SourceLimits | None) -> SQLAlchemySource:
    """The source of a saved block; what `reports.open_sources` takes as `load_block`.

    Raises:
        ConfigError: there is no such block.
    """
    try:
        block = QuerySource.load(name.removeprefix("query-source/"), _sync=True)  # type: ignore[call-arg]  # Prefect adds the keyword
    except ValueError as error:
        raise ConfigError(f"there is no QuerySource block {name!r}; save one, or see `prefect block ls`") from error
    assert isinstance(block, QuerySource)
    return block.source(limits)
