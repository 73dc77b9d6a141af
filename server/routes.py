"""The inner application: everything that needs data. Made once the first load has succeeded.

    GET /api/datasets       the datasets, their tables and columns
    GET /api/reports        the reports
    GET /api/report/NAME/stream    its charts, each when it is ready
    GET /api/assets/NAME    style sheet and scripts of reports
    GET /api/rows           a page of a table: `rows`, `rejects` and `traces` are tables like any other
    GET /api/count          how many rows a filter leaves
    GET /api/profile        measures of each column
    GET /api/top            the most frequent values of a column
    GET /api/diff           what differs between the base and the current dataset
    GET /api/download       a table as a file
    GET /api/statistics     what the server is doing

FastAPI reads the routes' annotations at run time, so their names are defined at the module's top level.
"""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from typing import Annotated, Any, Literal, Protocol

import orjson
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from prefect_datagen.reports.query_cache import QueryCache
from prefect_datagen.reports.spec import ReportSpec
from prefect_datagen.server.answers import Stream, connection_of, install_error_handlers, rows_for
from prefect_datagen.server.asgi import Connection
from prefect_datagen.server.assets import asset
from prefect_datagen.server.content import Content
from prefect_datagen.server.dataset import DatasetSnapshot, DatasetTable
from prefect_datagen.server.download import CONTENT_TYPES, Download, FileFormat
from prefect_datagen.server.encode import rows_of
from prefect_datagen.server.profile import profile_of, profile_query, top_values_query
from prefect_datagen.server.reports import AUTOMATIC
from prefect_datagen.server.rows import MAX_PAGE, Selection, select
from prefect_datagen.server.streams import report_events

router = APIRouter(prefix="/api")

NO_BASE = "the server was started without a dataset to compare with"


class Served(Protocol):
    """What the routes need of the loader."""

    content: Content | None
    cache: QueryCache | None


def create_application(served: Served) -> FastAPI:
    """The inner application over what a loader publishes."""
    application = FastAPI(title="prefect-datagen", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    application.state.served = served
    install_error_handlers(application)
    application.include_router(router)
    return application


def _content(request: Request) -> Content:
    content: Content = request.app.state.served.content
    return content


def _cache(request: Request) -> QueryCache:
    cache: QueryCache = request.app.state.served.cache
    return cache


def _dataset(content: ContentNow, dataset: Literal["current", "base"] = "current") -> DatasetSnapshot:
    if dataset == "current":
        return content.current
    if content.base is None:
        raise HTTPException(404, NO_BASE)
    return content.base


def _table(snapshot: Dataset, table: Literal["data", "rejects", "traces"] = "data") -> DatasetTable:
    return snapshot.tables[table]


def _selection(
    snapshot: Dataset,
    table: Table,
    columns: Annotated[list[str] | None, Query(alias="column", description="Columns to show; all by default.")] = None,
    filter_text: Annotated[str, Query(alias="filter", description="See `server/filters.py`.")] = "",
    sort: Annotated[str, Query(description="`name,-other`.")] = "",
) -> Selection:
    return select(snapshot, table, columns=columns or (), filter_text=filter_text, sort=sort)


ContentNow = Annotated[Content, Depends(_content)]
Cache = Annotated[QueryCache, Depends(_cache)]
Client = Annotated[Connection, Depends(connection_of)]
Dataset = Annotated[DatasetSnapshot, Depends(_dataset)]
Table = Annotated[DatasetTable, Depends(_table)]
Selected = Annotated[Selection, Depends(_selection)]
Offset = Annotated[int, Query(ge=0, le=2**62)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]


@router.get("/datasets")
async def datasets(content: ContentNow) -> Response:
    """The datasets that are served."""
    return _json([dataset.summary() for dataset in content.datasets])


@router.get("/reports")
async def reports(content: ContentNow) -> Response:
    """The reports there are."""
    return _json(
        [
            {"name": report.name, "title": "Overview" if report.name == AUTOMATIC else report.spec.title}
            for report in content.reports.values()
        ]
    )


@router.get("/report/{name}/stream")
async def report_stream(name: str, request: Request, content: ContentNow, cache: Cache, client: Client) -> Response:
    """The charts of a report as server-sent events. Values of variables are given as `var.name=value`."""
    report = content.reports.get(name)
    if report is None:
        raise HTTPException(404, f"there is no report {name!r}")
    events = report_events(report, cache, _values(report.spec, request))
    return Stream(
        events, client, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


def _values(spec: ReportSpec, request: Request) -> dict[str, object]:
    """Values of variables as the query string gives them; an empty one stands for none."""
    given: dict[str, object] = {}
    for key in {key for key in request.query_params if key.startswith("var.")}:
        name = key.removeprefix("var.")
        texts = [text for text in request.query_params.getlist(key) if text != ""]
        multiple = name in spec.variables and spec.variables[name].multiple
        given[name] = texts if multiple else texts[-1] if texts else None
    return given


@router.get("/assets/{name}")
async def assets(name: str, request: Request) -> Response:
    """The style sheet and scripts of reports."""
    found = await asyncio.to_thread(asset, name)
    if found is None:
        raise HTTPException(404, "there is nothing at this address")
    headers = {"ETag": found.etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    return Response(found.body, media_type=found.content_type, headers=headers)


@router.get("/rows")
async def rows(selection: Selected, cache: Cache, client: Client, offset: Offset = 0, limit: Limit = 100) -> Response:
    """A page of rows. `total` is the number of all rows of the selection where it is known without counting."""
    table = selection.table
    page: list[list[Any]] = []
    if table.columns:
        found = await rows_for(client, cache.submit(selection.page(offset, limit)))
        page = await asyncio.to_thread(rows_of, found)
    return _json(
        {
            "version": selection.snapshot.version,
            "columns": [{"name": name, "type": table.columns[name]} for name in selection.columns],
            "rows": page,
            "offset": offset,
            "limit": limit,
            "total": table.rows if selection.is_unfiltered else None,
        }
    )


@router.get("/count")
async def count(selection: Selected, cache: Cache, client: Client) -> Response:
    """The number of rows that a filter leaves."""
    if not selection.table.columns:
        return _json({"rows": 0})
    if selection.is_unfiltered and selection.table.rows is not None:
        return _json({"rows": selection.table.rows})
    found = await rows_for(client, cache.submit(selection.count()))
    return _json({"rows": found["rows"][0].as_py()})


@router.get("/profile")
async def profile(snapshot: Dataset, table: Table, cache: Cache, client: Client) -> Response:
    """Measures of each column of a table."""
    if not table.columns:
        return _json({"version": snapshot.version, "columns": []})
    measured = await rows_for(client, cache.submit(profile_query(snapshot, table)))
    return _json({"version": snapshot.version, "columns": profile_of(table, measured)})


@router.get("/top")
async def top(snapshot: Dataset, table: Table, cache: Cache, client: Client, column: str) -> Response:
    """The most frequent values of a column."""
    found = await rows_for(client, cache.submit(top_values_query(snapshot, table, column)))
    return _json({"version": snapshot.version, "column": column, "values": rows_of(found)})


@router.get("/diff")
async def diff(
    content: ContentNow,
    cache: Cache,
    client: Client,
    key: Annotated[
        list[str] | None, Query(description="Columns by which rows are matched; none compares no rows.")
    ] = None,
) -> Response:
    """What differs between the base and the current dataset."""
    if content.comparison is None:
        raise HTTPException(404, NO_BASE)
    found = await rows_for(client, cache.submit(content.comparison.question(key or ())))
    return Response(
        found["comparison"][0].as_py(), media_type="application/json", headers={"Cache-Control": "no-store"}
    )


@router.get("/download")
async def download(
    selection: Selected, client: Client, file_format: Annotated[FileFormat, Query(alias="format")] = FileFormat.CSV
) -> Response:
    """A table, or the part of it that is asked for, as a file."""
    if not selection.table.columns:
        raise HTTPException(404, f"there are no {selection.table.name} yet")
    name = f"{selection.snapshot.name}-{selection.table.name}.{file_format}"
    return Stream(
        Download(selection, file_format).chunks(),
        client,
        media_type=CONTENT_TYPES[file_format],
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


@router.get("/statistics")
async def statistics(cache: Cache) -> Response:
    """What the server is doing at this moment."""
    return _json(
        {
            "cache": dataclasses.asdict(cache.statistics()),
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
        }
    )


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type="application/json", headers={"Cache-Control": "no-store"})
