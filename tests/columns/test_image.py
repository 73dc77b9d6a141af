"""Images as files beside the dataset, or as base64."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from prefect_datagen.columns.image import ImageColumnConfig
from prefect_datagen.engine.chat import ImageRequest
from prefect_datagen.engine.errors import CellError, ErrorKind, ModelError, SinkError
from prefect_datagen.engine.node import ColumnNode
from tests.columns.fakes import FakeModels, context, make

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(40))
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(40))


def node(folder: Path | None = None, **fields: Any) -> ColumnNode:
    config = ImageColumnConfig.model_validate(
        {"name": "photo", "prompt": "A {{ animal }}", "model_alias": "writer", **fields}
    )
    model = {"generation_type": "image", "extra_body": {"size": "64x64"}}
    return config.build(context({"animal": pa.string()}, model=model, artifact_dir=folder))


def test_a_file_is_named_after_its_row_and_the_cell_holds_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "dataset" / "artifacts"
    models = FakeModels(image=PNG)
    assert make(node(folder), models, row=7, animal="cat") == {"photo": "artifacts/photo/00000007.png"}
    assert (tmp_path / "dataset" / "artifacts/photo/00000007.png").read_bytes() == PNG
    assert models.image_requests == [ImageRequest("m-1", "A cat", [], {"size": "64x64"})]
    assert make(node(folder), FakeModels(image=JPEG), row=7, copy=2, animal="cat") == {
        "photo": "artifacts/photo/00000007-2.jpeg"
    }


def test_making_a_row_again_leaves_one_whole_file(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts"
    for image in (PNG, PNG + b"again"):
        made = make(node(folder), FakeModels(image=image), animal="cat")
    assert [path.name for path in (folder / "photo").iterdir()] == ["00000000.png"]
    assert (tmp_path / made["photo"]).read_bytes() == PNG + b"again"


def test_without_a_folder_the_cell_holds_base64() -> None:
    made = make(node(), FakeModels(image=PNG), animal="cat")
    assert base64.b64decode(made["photo"]) == PNG


def test_what_is_no_image_loses_the_row_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(CellError) as caught:
        make(node(tmp_path), FakeModels(image=b"<html>"), animal="cat")
    assert caught.value.reason == "invalid answer"
    assert list(tmp_path.rglob("*")) == []


def test_errors_of_the_endpoint_pass_through() -> None:
    error = ModelError("slow down", kind=ErrorKind.THROTTLED, reason="429")
    with pytest.raises(ModelError) as caught:
        make(node(), FakeModels(image=error), animal="cat")
    assert caught.value is error


def test_a_file_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "photo").write_text("a file where the folder should be")
    with pytest.raises(SinkError, match="cannot write image"):
        make(node(tmp_path), FakeModels(image=PNG), animal="cat")


def test_a_column_name_never_leads_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts"
    for name in ("..", "a/b", "/etc"):
        made = make(node(folder, name=name), FakeModels(image=PNG), animal="cat")
        path = os.path.realpath(tmp_path / made[name])
        assert path.startswith(os.path.realpath(folder) + os.sep)


def test_media_go_along(tmp_path: Path) -> None:
    models = FakeModels(image=PNG)
    make(node(multi_modal_context=[{"column_name": "before"}]), models, animal="cat", before="http://host/a.png")
    assert models.image_requests[0].parts == [{"type": "image_url", "image_url": {"url": "http://host/a.png"}}]
    assert models.image_requests[0].body()["parts"] == models.image_requests[0].parts
