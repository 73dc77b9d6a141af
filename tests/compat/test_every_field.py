"""Nothing is forgotten: every config class of Data Designer, every field of each and every member of its enums, exported by
its builder and loaded here. The classes, fields and members are read from the package itself."""

from __future__ import annotations

import enum
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import data_designer.config as dd
import pandas as pd
import pytest
from data_designer.config.base import ConfigBase, ProcessorConfig, SingleColumnConfig, SkipConfig
from data_designer.config.column_configs import Score
from data_designer.config.models import AudioContext, BaseInferenceParams, Distribution, ImageContext, VideoContext
from data_designer.config.sampler_constraints import Constraint
from data_designer.config.seed_source import SeedSource
from pydantic import BaseModel

from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.config import SeedConfig

for module in pkgutil.walk_packages(dd.__path__, f"{dd.__name__}."):
    importlib.import_module(module.name)


def subclasses(base: type[Any]) -> Iterator[type[Any]]:
    """Classes of Data Designer below a class."""
    for each in base.__subclasses__():
        if each.__module__.startswith("data_designer"):
            yield each
        yield from subclasses(each)


SKIP = SkipConfig(when="{{ n > 3 }}", value=None)
COLUMN = {"drop": True, "skip": SKIP, "propagate_skip": False}
TEXT = {
    **COLUMN,
    "prompt": "Write about {{ n }}.",
    "model_alias": "writer",
    "system_prompt": "Be brief.",
    "multi_modal_context": [
        ImageContext(column_name="pixels", data_type="base64", image_format="png"),
        AudioContext(column_name="pixels", data_type="base64", audio_format="wav"),
        VideoContext(column_name="pixels", data_type="url"),
    ],
    "with_trace": dd.TraceType.ALL_MESSAGES,
    "extract_reasoning_content": True,
}
SCORE = Score(name="taste", description="How good?", options={1: "bad", 2: "good"})
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
VERDICT = {"type": "object", "properties": {"is_valid": {"type": "boolean"}}, "required": ["is_valid"]}
UNIFORM = dd.UniformDistribution(params=dd.UniformDistributionParams(low=0.1, high=0.9))
MANUAL = dd.ManualDistribution(params=dd.ManualDistributionParams(values=[0.5, 0.9], weights=[1, 3]))
CALLS = {"max_parallel_requests": 3, "timeout": 9, "extra_body": {"k": 1}}

COLUMNS: dict[type[SingleColumnConfig], dict[str, Any]] = {
    dd.SamplerColumnConfig: {  # Data Designer refuses `skip` on samplers; here it is an extension
        "drop": True,
        "sampler_type": "gaussian",
        "params": dd.GaussianSamplerParams(mean=1, stddev=2, decimal_places=1),
        "conditional_params": {"n > 2": dd.GaussianSamplerParams(mean=7, stddev=1)},
        "convert_to": "int",
    },
    dd.LLMTextColumnConfig: TEXT,
    dd.LLMCodeColumnConfig: {**TEXT, "code_lang": "rust"},
    dd.LLMStructuredColumnConfig: {**TEXT, "output_format": SCHEMA},
    dd.LLMJudgeColumnConfig: {**TEXT, "scores": [SCORE]},
    dd.ExpressionColumnConfig: {**COLUMN, "expr": "{{ n + 1 }}", "dtype": "int"},
    dd.ValidationColumnConfig: {
        **COLUMN,
        "target_columns": ["code"],
        "validator_type": "remote",
        "validator_params": dd.RemoteValidatorParams(
            endpoint_url="http://127.0.0.1:9/check",
            output_schema=VERDICT,
            timeout=3,
            max_retries=1,
            retry_backoff=1.5,
            max_parallel_requests=2,
        ),
        "batch_size": 5,
    },
    dd.EmbeddingColumnConfig: {**COLUMN, "target_column": "code", "model_alias": "embedder"},
    dd.ImageColumnConfig: {
        **COLUMN,
        "prompt": "Paint {{ n }}.",
        "model_alias": "painter",
        "multi_modal_context": [ImageContext(column_name="pixels", data_type="base64", image_format="jpg")],
    },
}
"""All fields of each column class. Those of `seed-dataset` come with the seed, those of `custom` with a function."""

LEFT_OUT = {
    dd.SamplerColumnConfig: {"skip", "propagate_skip"},
    **{each: {"tool_alias"} for each in subclasses(dd.LLMTextColumnConfig)},  # tools have tests of their own
    dd.LLMTextColumnConfig: {"tool_alias"},
}

PARAMS: dict[type[BaseModel], dict[str, Any]] = {
    dd.CategorySamplerParams: {"values": ["a", "b"], "weights": [1, 2]},
    dd.DatetimeSamplerParams: {"start": "2024-01-01", "end": "2024-02-01", "unit": "h"},
    dd.SubcategorySamplerParams: {"category": "letter", "values": {"a": ["x"], "b": ["y"]}},
    dd.TimeDeltaSamplerParams: {"dt_min": 1, "dt_max": 3, "reference_column_name": "day", "unit": "h"},
    dd.UUIDSamplerParams: {"prefix": "id-", "short_form": True, "uppercase": True},
    dd.ScipySamplerParams: {"dist_name": "beta", "dist_params": {"a": 1, "b": 2}, "decimal_places": 2},
    dd.BinomialSamplerParams: {"n": 3, "p": 0.5},
    dd.BernoulliSamplerParams: {"p": 0.5},
    dd.BernoulliMixtureSamplerParams: {"p": 0.5, "dist_name": "norm", "dist_params": {"loc": 1}},
    dd.GaussianSamplerParams: {"mean": 1.0, "stddev": 2.0, "decimal_places": 1},
    dd.PoissonSamplerParams: {"mean": 3},
    dd.UniformSamplerParams: {"low": 1, "high": 2, "decimal_places": 1},
    dd.PersonSamplerParams: {"locale": "en_US", "sex": "Female", "city": "Oslo", "age_range": [20, 30]},
    dd.PersonFromFakerSamplerParams: {"locale": "en_GB", "sex": "Male", "city": "Oslo", "age_range": [20, 30]},
}
REFUSED_PARAMS = {"select_field_values", "with_synthetic_personas"}  # of the managed persona data sets


def builder() -> dd.DataDesignerConfigBuilder:
    """What the columns below read."""
    made = dd.DataDesignerConfigBuilder(
        model_configs=[
            dd.ModelConfig(alias="writer", model="m", provider="offline"),
            dd.ModelConfig(
                alias="embedder", model="e", provider="offline", inference_parameters=dd.EmbeddingInferenceParams()
            ),
            dd.ModelConfig(
                alias="painter", model="i", provider="offline", inference_parameters=dd.ImageInferenceParams()
            ),
        ]
    )
    sampled: list[tuple[str, str, Any]] = [
        ("n", "poisson", dd.PoissonSamplerParams(mean=3)),
        ("letter", "category", dd.CategorySamplerParams(values=["a", "b"])),
        ("day", "datetime", dd.DatetimeSamplerParams(start="2024-01-01", end="2024-02-01")),
        ("pixels", "category", dd.CategorySamplerParams(values=["aGk="])),
        ("code", "category", dd.CategorySamplerParams(values=["x = 1"])),
    ]
    for name, kind, params in sampled:
        made.add_column(name=name, column_type="sampler", sampler_type=kind, params=params)
    return made


def loaded(made: dd.DataDesignerConfigBuilder) -> DatasetConfig:
    """What is exported as YAML, loaded."""
    text = made.get_builder_config().to_yaml()
    assert isinstance(text, str)
    return DatasetConfig.load(text)


def test_every_column_class_is_here() -> None:
    beside = {dd.SeedDatasetColumnConfig, dd.CustomColumnConfig}
    assert set(subclasses(SingleColumnConfig)) == COLUMNS.keys() | beside


@pytest.mark.parametrize("kind", COLUMNS, ids=lambda kind: kind.__name__)
def test_every_field_of_a_column_is_accepted(kind: type[SingleColumnConfig]) -> None:
    fields = COLUMNS[kind]
    assert fields.keys() | LEFT_OUT.get(kind, set()) | {"name", "column_type"} == kind.model_fields.keys()
    made = builder()
    made.add_column(kind(name="made", **fields))
    column = loaded(made).column("made")
    assert column.drop
    assert (column.skip is not None) == ("skip" in fields)


def test_every_sampler_class_is_here() -> None:
    every = {each for each in subclasses(ConfigBase) if each.__name__.endswith("SamplerParams")}
    assert every == PARAMS.keys()


@pytest.mark.parametrize("kind", PARAMS, ids=lambda kind: kind.__name__)
def test_every_parameter_of_a_sampler_is_accepted(kind: type[BaseModel]) -> None:
    values = PARAMS[kind]
    assert values.keys() | REFUSED_PARAMS | {"sampler_type"} >= kind.model_fields.keys()
    params = kind(**values)
    made = builder()
    made.add_column(name="made", column_type="sampler", sampler_type=params.sampler_type, params=params)  # type: ignore[attr-defined]
    described = loaded(made).column("made").model_dump(mode="json")["params"]
    assert {name: value for name, value in described.items() if name in values and value is not None}.keys() == (
        values.keys()
    )


@pytest.mark.parametrize("strategy", dd.SamplingStrategy)
@pytest.mark.parametrize(
    "selection", [None, dd.IndexRange(start=0, end=1), dd.PartitionBlock(index=0, num_partitions=2)]
)
def test_every_seed_strategy_and_selection_is_accepted(tmp_path: Path, strategy: Any, selection: Any) -> None:
    pd.DataFrame({"a": [1, 2, 3, 4]}).to_parquet(tmp_path / "seed.parquet")
    made = builder()
    made.with_seed_dataset(
        dd.LocalFileSeedSource(path=str(tmp_path / "seed.parquet")),
        sampling_strategy=strategy,
        selection_strategy=selection,
    )
    assert loaded(made).seed_config is not None


def test_every_seed_source_is_accepted_or_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("one")
    pd.DataFrame({"a": [1]}).to_csv(tmp_path / "seed.csv", index=False)
    files = {"path": str(tmp_path), "file_pattern": "*.txt", "recursive": False}
    sources: dict[str, Any] = {
        "LocalFileSeedSource": dd.LocalFileSeedSource(path=str(tmp_path / "seed.csv")),
        "HuggingFaceSeedSource": dd.HuggingFaceSeedSource(
            path="datasets/me/mine/a.parquet", token="HF_TOKEN", endpoint="https://huggingface.co"
        ),
        "DirectorySeedSource": dd.DirectorySeedSource(**files),
        "FileContentsSeedSource": dd.FileContentsSeedSource(**files, encoding="utf-8"),
        "DataFrameSeedSource": "through from_data_designer: tests/compat/table.py",
        "AgentRolloutSeedSource": "refused: tests/compat/table.py",
        "FileSystemSeedSource": "abstract",
    }
    assert {each.__name__ for each in subclasses(SeedSource)} == sources.keys()
    for source in sources.values():
        if isinstance(source, SeedSource):
            made = builder()
            made.with_seed_dataset(source)
            exported = made.get_builder_config().data_designer.seed_config
            assert exported is not None
            config = SeedConfig.model_validate(exported.model_dump(mode="json"))
            assert config.source.seed_type == source.seed_type  # type: ignore[attr-defined]


def test_every_processor_is_accepted() -> None:
    processors = {
        dd.DropColumnsProcessorConfig: {"column_names": ["letter"]},
        dd.SchemaTransformProcessorConfig: {"template": {"text": "{{ n }}"}},
    }
    assert set(subclasses(ProcessorConfig)) == processors.keys()
    assert {each.value for each in dd.ProcessorType} == {"drop_columns", "schema_transform"}
    made = builder()
    for number, (kind, fields) in enumerate(processors.items()):
        assert fields.keys() | {"name", "processor_type"} == kind.model_fields.keys()
        made.add_processor(kind(name=f"p{number}", **fields))  # type: ignore[arg-type]
    assert len(loaded(made).processors) == 2


def test_every_constraint_is_accepted() -> None:
    kinds = {dd.ScalarInequalityConstraint: 9, dd.ColumnInequalityConstraint: "other"}
    assert set(subclasses(Constraint)) == kinds.keys()
    made = builder()
    made.add_column(name="other", column_type="sampler", sampler_type="poisson", params=dd.PoissonSamplerParams(mean=3))
    for kind, rhs in kinds.items():
        for operator in dd.InequalityOperator:
            if operator.value in ("lt", "le"):  # beside each other these can hold
                made.add_constraint(kind(target_column="n", operator=operator, rhs=rhs))
    assert len(loaded(made).constraints) == 4
    for operator in ("gt", "ge"):
        upward = builder()
        upward.add_constraint(dd.ScalarInequalityConstraint(target_column="n", operator=operator, rhs=0))
        assert len(loaded(upward).constraints) == 1


def test_every_field_of_a_model_is_accepted() -> None:
    kinds: dict[type[Any], dict[str, Any]] = {
        dd.ChatCompletionInferenceParams: {**CALLS, "temperature": UNIFORM, "top_p": MANUAL, "max_tokens": 9},
        dd.EmbeddingInferenceParams: {**CALLS, "encoding_format": "base64", "dimensions": 4},
        dd.ImageInferenceParams: CALLS,
    }
    assert set(subclasses(BaseInferenceParams)) == kinds.keys()
    distributions = {each for each in subclasses(Distribution) if "[" not in each.__name__}
    assert distributions == {dd.UniformDistribution, dd.ManualDistribution}
    models = []
    for number, (kind, fields) in enumerate(kinds.items()):
        assert fields.keys() | {"generation_type"} == kind.model_fields.keys()
        params = kind(**fields)
        models.append(
            dd.ModelConfig(
                alias=f"m{number}", model="m", provider="offline", skip_health_check=True, inference_parameters=params
            )
        )
    made = dd.DataDesignerConfigBuilder(model_configs=models)
    made.add_column(name="a", column_type="expression", expr="x")
    config = loaded(made)
    for model, mine in zip(models, config.model_configs, strict=True):
        given = model.inference_parameters.model_dump(mode="json")
        kept = mine.inference_parameters.model_dump(mode="json")
        assert {name: kept[name] for name in given} == given


@pytest.mark.parametrize("language", dd.CodeLang)
def test_every_language_is_written_and_validated_or_refused_by_name(language: Any) -> None:
    made = builder()
    made.add_column(dd.LLMCodeColumnConfig(name="made", prompt="x", model_alias="writer", code_lang=language))
    assert loaded(made).column("made").model_dump(mode="json")["code_lang"] == language.value
    try:
        params = dd.CodeValidatorParams(code_lang=language)
    except ValueError:
        return  # Data Designer itself validates Python and SQL only
    made.add_column(
        dd.ValidationColumnConfig(
            name="checked", target_columns=["made"], validator_type="code", validator_params=params
        )
    )
    assert loaded(made).column("checked")


CONTEXTS: list[tuple[type[Any], str, type[enum.Enum]]] = [
    (ImageContext, "image_format", dd.ImageFormat),
    (AudioContext, "audio_format", dd.AudioFormat),
    (VideoContext, "video_format", dd.VideoFormat),
]


@pytest.mark.parametrize(
    ("kind", "field", "form"),
    [(kind, field, form) for kind, field, forms in CONTEXTS for form in forms],
    ids=lambda each: getattr(each, "value", str(each)),
)
def test_every_medium_and_format_is_accepted(kind: type[Any], field: str, form: Any) -> None:
    context = kind(column_name="pixels", data_type="base64", **{field: form})
    made = builder()
    made.add_column(
        dd.LLMTextColumnConfig(name="made", prompt="x", model_alias="writer", multi_modal_context=[context])
    )
    assert loaded(made).column("made")


@pytest.mark.parametrize("trace", dd.TraceType)
def test_every_trace_is_accepted(trace: Any) -> None:
    made = builder()
    made.add_column(dd.LLMTextColumnConfig(name="made", prompt="x", model_alias="writer", with_trace=trace))
    assert loaded(made).column("made").model_dump(mode="json")["with_trace"] == trace.value


@pytest.mark.parametrize("field", sorted(REFUSED_PARAMS))
def test_what_is_left_out_of_samplers_is_refused_by_name(field: str) -> None:
    value: Any = {"state": ["OR"]} if field == "select_field_values" else True
    made = builder()
    made.add_column(
        name="made",
        column_type="sampler",
        sampler_type="person",
        params=dd.PersonSamplerParams(locale="en_US", **{field: value}),
    )
    with pytest.raises(ConfigError, match=field):
        loaded(made)
