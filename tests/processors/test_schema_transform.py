"""Rows of another shape: every rendered text stays text, and the type is known from the template alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import data_designer.config as dd
import pyarrow as pa
import pytest

from prefect_datagen.engine.errors import ConfigError, ProcessorError
from tests.processors.support import CODES, codes, make, run, run_on_parts

CHAT = {
    "messages": [
        {"role": "user", "content": "What is {{ code }}?"},
        {"role": "assistant", "content": "{{ code }}", "weight": 1.5},
    ],
    "meta": {"n": "{{ n }}", "version": 2, "checked": True, "none": None},
    "words": ["{{ code | lower }}", "x"],
}


def transform(template: dict[str, Any], **config: Any) -> Any:
    return make(processor_type="schema_transform", template=template, **config)


def test_each_key_becomes_a_column_of_the_templates_shape(tmp_path: Path) -> None:
    expected = [
        {
            "messages": [
                {"role": "user", "content": f"What is {code}?", "weight": None},
                {"role": "assistant", "content": code, "weight": 1.5},
            ],
            "meta": {"n": str(n), "version": 2, "checked": True, "none": None},
            "words": [code.lower(), "x"],
        }
        for code, n in zip(CODES, codes().column("n").to_pylist(), strict=True)
    ]
    processor = transform(CHAT)
    found = run(codes(), processor)
    assert found.to_pylist() == expected
    assert found.schema == processor.output_schema(codes().schema)
    assert found.schema.field("messages").type == pa.list_(
        pa.struct([("role", pa.string()), ("content", pa.string()), ("weight", pa.float64())])
    )
    assert run_on_parts(tmp_path, codes(), processor).to_pylist() == expected


def test_rendered_text_is_never_retyped() -> None:
    found = run(codes(), transform({"copy": "{{ code }}", "list": ["{{ code }}"]}))
    assert found.to_pylist() == [{"copy": code, "list": [code]} for code in CODES]


def test_other_columns_are_kept_where_asked_for() -> None:
    found = run(codes(), transform({"code": "<{{ code }}>", "new": "x"}, keep_columns=True))
    assert found.column_names == ["n", "tags", "when", "took", "code", "new"]
    assert found.column("code").to_pylist() == [f"<{code}>" for code in CODES]
    assert found.column("took").equals(codes().column("took"))


def test_a_template_without_columns_gives_a_value_for_each_row() -> None:
    assert run(codes(), transform({"a": "x", "b": 1})).to_pylist() == [{"a": "x", "b": 1}] * len(CODES)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ({"a": "{{ cod }}"}, ("template.a", "column 'cod' is not defined; did you mean 'code'?")),
        ({"a": [{"b": "{{ code"}]}, ("template.a[0].b", "the template does not parse")),
        ({"a": ["x", 1]}, ("template.a", "template.a: items of different types (string, int64)")),
        ({"a": {"b": {}}}, ("template.a", "template.a.b: an object without keys")),
    ],
)
def test_mistakes_are_told_with_their_path(template: dict[str, Any], problem: tuple[str, str]) -> None:
    ((field, message),) = transform(template).check(codes().column_names)
    assert field == problem[0]
    assert message.startswith(problem[1])


def test_a_column_that_is_gone_at_this_stage_is_told_before_any_work() -> None:
    with pytest.raises(ConfigError, match=r"template\.a: column 'gone' is not defined"):
        transform({"a": "{{ gone }}"}).output_schema(codes().schema)


def test_a_row_that_cannot_be_rendered_ends_the_run_and_is_named() -> None:
    with pytest.raises(ProcessorError, match=r"template, row 2 of the row group: .*") as caught:
        run(codes(), transform({"a": "{{ n + 1 }}"}))
    assert (caught.value.row, caught.value.processor) == (2, "p")  # type: ignore[attr-defined]


def test_a_template_that_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="the template must be JSON"):
        transform({"a": {1, 2}})


def test_templates_reach_no_python_internals() -> None:
    with pytest.raises(ProcessorError):
        run(codes(), transform({"a": "{{ code.__class__.__mro__ }}"}))


def test_what_data_designer_exports_is_accepted() -> None:
    exported = dd.SchemaTransformProcessorConfig(name="t", template=CHAT).model_dump(mode="json")
    assert run(codes(), make(**exported)).column_names == ["messages", "meta", "words"]
