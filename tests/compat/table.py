"""What NVIDIA NeMo Data Designer's builder can say, and what becomes of it here: the table behind docs/compatibility.md.

Each case adds to a builder of `data_designer.config`, whose export is loaded here. Cases that are accepted are run, and
`shows` holds what was made against what Data Designer documents.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import data_designer.config as dd
import pandas as pd
from data_designer.config.custom_column import custom_column_generator
from pydantic import BaseModel

Builder = dd.DataDesignerConfigBuilder


class Verdict(StrEnum):
    """What becomes of a feature."""

    SAME = "behaves the same"
    DIFFERS = "differs on purpose"
    REFUSED = "not supported"


@dataclass(frozen=True)
class Case:
    """A feature of Data Designer.

    Attributes:
        group: heading on the page.
        feature: what a user of Data Designer calls it.
        add: puts it into a builder; the folder holds `seed.csv` and may get files.
        shows: whether the rows that were made (12, or those of the seed) are right.
        verdict: same, differs or refused.
        why: how it differs and why; for a refused one, words of the error.
        alone: has a config of its own; the others are put together into one.
        in_python: only the builder itself can say it: its export has lost a function or a data frame.
        beside: what Data Designer keeps beside the config, by field of ours.
    """

    group: str
    feature: str
    add: Callable[[Builder, Path], object]
    shows: Callable[[pd.DataFrame], bool] = lambda frame: False
    verdict: Verdict = Verdict.SAME
    why: str = ""
    alone: bool = False
    in_python: bool = False
    beside: dict[str, Any] = field(default_factory=dict)


def new_builder() -> Builder:
    """A builder with a model of each kind."""
    chat = dd.ChatCompletionInferenceParams(
        temperature=dd.UniformDistribution(params=dd.UniformDistributionParams(low=0.1, high=0.9)),
        top_p=dd.ManualDistribution(params=dd.ManualDistributionParams(values=[0.5, 0.9], weights=[1, 3])),
        max_tokens=200,
        extra_body={"top_k": 3},
    )
    return Builder(
        model_configs=[
            dd.ModelConfig(alias="writer", model="m", provider="offline", inference_parameters=chat),
            dd.ModelConfig(
                alias="embedder",
                model="e",
                provider="offline",
                inference_parameters=dd.EmbeddingInferenceParams(dimensions=4),
            ),
            dd.ModelConfig(
                alias="painter", model="i", provider="offline", inference_parameters=dd.ImageInferenceParams()
            ),
        ]
    )


def sampler(name: str, kind: str, **fields: Any) -> Callable[[Builder, Path], object]:
    """Adds a sampler column."""

    def add(builder: Builder, folder: Path) -> None:
        settings = {key: fields[key] for key in ("conditional_params", "convert_to") if key in fields}
        params = {key: value for key, value in fields.items() if key not in settings}
        builder.add_column(name=name, column_type="sampler", sampler_type=kind, params=params, **settings)

    return add


def column(name: str, kind: str, **fields: Any) -> Callable[[Builder, Path], object]:
    """Adds a column of another type."""
    return lambda builder, folder: builder.add_column(name=name, column_type=kind, **fields)


def several(*parts: Callable[[Builder, Path], object]) -> Callable[[Builder, Path], object]:
    """Adds all."""
    return lambda builder, folder: [part(builder, folder) for part in parts]


def seeded(source: Callable[[Path], Any], **how: Any) -> Callable[[Builder, Path], object]:
    """Adds seed data."""
    return lambda builder, folder: builder.with_seed_dataset(source(folder), **how)


def local(folder: Path) -> dd.LocalFileSeedSource:
    """`seed.csv`: six rows of `code` and `city`."""
    return dd.LocalFileSeedSource(path=str(folder / "seed.csv"))


class Facts(BaseModel):
    """The shape of a structured answer."""

    population: int
    names: list[str]


@custom_column_generator(required_columns=["cc_base"])
def shout(row: dict[str, Any]) -> dict[str, Any]:
    """A custom column by row, as Data Designer wants it: the row comes back with the column in it."""
    return {**row, "cc": row["cc_base"].upper()}


def all_valid(frame: pd.DataFrame) -> pd.DataFrame:
    """A local validator."""
    return pd.DataFrame({"is_valid": [True] * len(frame)})


def _between(name: str, low: float, high: float) -> Callable[[pd.DataFrame], bool]:
    return lambda frame: bool(frame[name].between(low, high).all())


_TEXT = {"model_alias": "writer", "prompt": "Write."}
_SCORE = dd.Score(name="quality", description="How good?", options={1: "bad", 2: "good"})
_INT_SCORES = {1, 2}

SAMPLERS = "Samplers"
CONSTRAINTS = "Constraints"
COLUMNS = "Columns"
SEEDS = "Seeds"
MODELS = "Models"
PROCESSORS = "Processors"
OTHERS = "Other parts"

CASES: list[Case] = [
    Case(
        SAMPLERS,
        "`category`, weights",
        sampler("s_cat", "category", values=["0E8", "null"], weights=[1, 3]),
        lambda frame: set(frame.s_cat) <= {"0E8", "null"},
    ),
    Case(
        SAMPLERS,
        "`subcategory`",
        several(
            sampler("s_parent", "category", values=["a", "b"]),
            sampler("s_sub", "subcategory", category="s_parent", values={"a": ["a1", "a2"], "b": ["b1"]}),
        ),
        lambda frame: all(sub[0] == parent for sub, parent in zip(frame.s_sub, frame.s_parent, strict=True)),
    ),
    Case(
        SAMPLERS,
        "`uniform`, decimal places",
        sampler("s_uni", "uniform", low=1, high=2, decimal_places=1),
        _between("s_uni", 1, 2),
    ),
    Case(SAMPLERS, "`gaussian`", sampler("s_gau", "gaussian", mean=5, stddev=0.1), _between("s_gau", 4, 6)),
    Case(SAMPLERS, "`bernoulli`", sampler("s_ber", "bernoulli", p=0.5), lambda frame: set(frame.s_ber) <= {0, 1}),
    Case(
        SAMPLERS,
        "`bernoulli_mixture`",
        sampler("s_mix", "bernoulli_mixture", p=0.5, dist_name="norm", dist_params={"loc": 9, "scale": 0.1}),
        lambda frame: all(value == 0 or 8 < value < 10 for value in frame.s_mix),
    ),
    Case(SAMPLERS, "`binomial`", sampler("s_bin", "binomial", n=4, p=0.5), _between("s_bin", 0, 4)),
    Case(SAMPLERS, "`poisson`", sampler("s_poi", "poisson", mean=2), lambda frame: bool((frame.s_poi >= 0).all())),
    Case(
        SAMPLERS,
        "`scipy`",
        sampler("s_sci", "scipy", dist_name="beta", dist_params={"a": 2, "b": 3}),
        _between("s_sci", 0, 1),
    ),
    Case(
        SAMPLERS,
        "`datetime`",
        sampler("s_date", "datetime", start="2024-01-01", end="2024-01-03", unit="h"),
        lambda frame: bool((pd.to_datetime(frame.s_date) < pd.Timestamp("2024-01-03")).all()),
        Verdict.DIFFERS,
        "never outside `[start, end)`, where there a value may fall before the start; without `convert_to` a timestamp",
    ),
    Case(
        SAMPLERS,
        "`timedelta`",
        several(
            sampler("s_from", "datetime", start="2024-01-01", end="2024-01-03"),
            sampler("s_delta", "timedelta", dt_min=1, dt_max=3, reference_column_name="s_from"),
        ),
        lambda frame: set((pd.to_datetime(frame.s_delta) - pd.to_datetime(frame.s_from)).dt.days) <= {1, 2},
    ),
    Case(
        SAMPLERS,
        "`uuid`, prefix, short form, upper case",
        sampler("s_uuid", "uuid", prefix="ID-", short_form=True, uppercase=True),
        lambda frame: (
            frame.s_uuid.is_unique and all(value.startswith("ID-") and value == value.upper() for value in frame.s_uuid)
        ),
        Verdict.DIFFERS,
        "unique over the whole run, also in the short form; a run too long for that is refused",
    ),
    Case(
        SAMPLERS,
        "`person_from_faker`",
        sampler("s_faker", "person_from_faker", locale="en_GB", age_range=[30, 40]),
        lambda frame: all(30 <= person["age"] <= 40 for person in frame.s_faker),
    ),
    Case(
        SAMPLERS,
        "`person` (managed data)",
        sampler("p", "person", locale="en_US"),
        lambda frame: all(person["first_name"] for person in frame.p),
        Verdict.DIFFERS,
        "made by Faker: the managed data sets are not downloaded",
    ),
    Case(
        SAMPLERS,
        "`conditional_params`",
        several(
            sampler("s_kind", "category", values=["low", "high"]),
            sampler(
                "s_cond",
                "uniform",
                low=0,
                high=1,
                conditional_params={"s_kind == 'high'": {"sampler_type": "uniform", "low": 10, "high": 11}},
            ),
        ),
        lambda frame: all(
            (value >= 10) == (kind == "high") for value, kind in zip(frame.s_cond, frame.s_kind, strict=True)
        ),
        Verdict.DIFFERS,
        "where several conditions hold, the first decides; there the last",
    ),
    Case(
        SAMPLERS,
        "`convert_to`",
        sampler("s_conv", "uniform", low=1, high=9, convert_to="int"),
        lambda frame: frame.s_conv.dtype.kind == "i",
    ),
    Case(
        CONSTRAINTS,
        "scalar and column inequality",
        several(
            sampler("low", "uniform", low=0, high=1),
            sampler("high", "uniform", low=0, high=1),
            lambda builder, folder: builder.add_constraint(
                constraint_type="column_inequality", target_column="low", operator="lt", rhs="high"
            ),
            lambda builder, folder: builder.add_constraint(
                constraint_type="scalar_inequality", target_column="low", operator="gt", rhs=0.2
            ),
        ),
        lambda frame: bool(((frame.low < frame.high) & (frame.low > 0.2)).all()),
        Verdict.DIFFERS,
        "whole rows are drawn anew, from the true joint distribution; there one column after the other",
        alone=True,
    ),
    Case(
        COLUMNS,
        "`expression`",
        several(
            sampler("e_base", "category", values=["1.10"]),
            column("e_text", "expression", expr="{{ e_base }}|{{ e_base | length }}"),
        ),
        lambda frame: set(frame.e_text) == {"1.10|4"},
        Verdict.DIFFERS,
        "text is never retyped on its way into a template; an empty rendering is empty text, where there the row is lost",
    ),
    Case(
        COLUMNS,
        "`expression` with `dtype`",
        column("e_int", "expression", expr="12", dtype="int"),
        lambda frame: set(frame.e_int) == {12},
    ),
    Case(
        COLUMNS,
        "`llm-text`, system prompt, trace, reasoning",
        column(
            "l_text",
            "llm-text",
            system_prompt="Be brief.",
            with_trace=dd.TraceType.ALL_MESSAGES,
            extract_reasoning_content=True,
            **_TEXT,
        ),
        lambda frame: all(json.loads(trace)[0]["role"] == "system" for trace in frame.l_text__trace),
    ),
    Case(
        COLUMNS,
        "`llm-code`",
        column("l_code", "llm-code", code_lang=dd.CodeLang.PYTHON, **_TEXT),
        lambda frame: all("```" not in code and "def " in code for code in frame.l_code),
    ),
    Case(
        COLUMNS,
        "`llm-structured`, JSON schema",
        column(
            "l_schema",
            "llm-structured",
            output_format={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
            **_TEXT,
        ),
        lambda frame: all(isinstance(value["n"], int) for value in frame.l_schema),
    ),
    Case(
        COLUMNS,
        "`llm-structured`, pydantic model",
        column("l_facts", "llm-structured", output_format=Facts, **_TEXT),
        lambda frame: all(set(value) == {"population", "names"} for value in frame.l_facts),
    ),
    Case(
        COLUMNS,
        "`llm-judge`",
        column("l_judge", "llm-judge", scores=[_SCORE], **_TEXT),
        lambda frame: {value["quality"]["score"] for value in frame.l_judge} <= _INT_SCORES,
        Verdict.DIFFERS,
        "a score is an integer where all options are, although the export writes them as text",
    ),
    Case(
        COLUMNS,
        "`validation`, code",
        several(
            column("v_code", "llm-code", code_lang=dd.CodeLang.SQL_POSTGRES, **_TEXT),
            column(
                "v_check",
                "validation",
                target_columns=["v_code"],
                validator_type="code",
                validator_params=dd.CodeValidatorParams(code_lang=dd.CodeLang.SQL_POSTGRES),
            ),
        ),
        lambda frame: all(verdict["is_valid"] for verdict in frame.v_check),
        Verdict.DIFFERS,
        "each row and column has its own verdict; there, with several target columns, the first row's",
    ),
    Case(
        COLUMNS,
        "`validation`, `local_callable`",
        several(
            sampler("vl_base", "category", values=["x"]),
            column(
                "vl_check",
                "validation",
                target_columns=["vl_base"],
                validator_type="local_callable",
                validator_params=dd.LocalCallableValidatorParams(validation_function=all_valid),
            ),
        ),
        lambda frame: all(verdict["is_valid"] for verdict in frame.vl_check),
        Verdict.DIFFERS,
        "through `from_data_designer(builder)`; an exported file holds the function's bare name, which is refused",
        in_python=True,
    ),
    Case(
        COLUMNS,
        "`embedding`",
        several(
            sampler("em_base", "category", values=["x"]),
            column("em", "embedding", target_column="em_base", model_alias="embedder"),
        ),
        lambda frame: all(len(vector) == 4 for vector in frame.em),
        Verdict.DIFFERS,
        "the cell is the vector (or the list of vectors); there it is under `embeddings`",
    ),
    Case(
        COLUMNS,
        "`image`",
        column("im", "image", prompt="A cat", model_alias="painter"),
        lambda frame: all(base64.b64decode(image).startswith(b"\x89PNG") for image in frame.im),
        Verdict.DIFFERS,
        "the cell is one path (base64 in a preview); there a list",
    ),
    Case(
        COLUMNS,
        "multi-modal context",
        several(
            column("mm_image", "image", prompt="A dog", model_alias="painter"),
            column(
                "mm_text",
                "llm-text",
                multi_modal_context=[dd.ImageContext(column_name="mm_image")],
                **_TEXT,
            ),
        ),
        lambda frame: all(frame.mm_text.str.len() > 0),
    ),
    Case(
        COLUMNS,
        "`custom`",
        several(
            sampler("cc_base", "category", values=["x"]),
            lambda builder, folder: builder.add_column(dd.CustomColumnConfig(name="cc", generator_function=shout)),
        ),
        lambda frame: set(frame.cc) == {"X"},
        Verdict.DIFFERS,
        "through `from_data_designer(builder)`; an exported file holds the function's bare name, which is refused",
        in_python=True,
    ),
    Case(
        COLUMNS,
        "`drop`",
        several(
            lambda builder, folder: builder.add_column(
                name="dropped", column_type="sampler", sampler_type="category", params={"values": ["z"]}, drop=True
            ),
            column("of_dropped", "expression", expr="{{ dropped }}"),
        ),
        lambda frame: "dropped" not in frame and set(frame.of_dropped) == {"z"},
    ),
    Case(
        COLUMNS,
        "`skip`, `propagate_skip`",
        several(
            sampler("sk_base", "category", values=["yes", "no"]),
            column("sk", "llm-text", skip=dd.SkipConfig(when="{{ sk_base == 'no' }}"), **_TEXT),
            column("sk_next", "expression", expr="{{ sk }}"),
            column("sk_all", "expression", expr="{{ sk }}", propagate_skip=False),
        ),
        lambda frame: all(
            pd.isna(text) == pd.isna(following) == (base == "no") and isinstance(always, str)
            for base, text, following, always in zip(frame.sk_base, frame.sk, frame.sk_next, frame.sk_all, strict=True)
        ),
    ),
    Case(
        SEEDS,
        "local file, `ordered`",
        several(seeded(local), column("copy", "expression", expr="{{ code }}")),
        lambda frame: list(frame.code[:6]) == ["0E8", "00M", "1.10", "null", "true", "007"] == list(frame.copy_[:6]),
        Verdict.DIFFERS,
        "text of a CSV file stays text",
        alone=True,
    ),
    Case(
        SEEDS,
        "`shuffle`, `IndexRange`",
        seeded(local, sampling_strategy=dd.SamplingStrategy.SHUFFLE, selection_strategy=dd.IndexRange(start=1, end=3)),
        lambda frame: set(frame.code) == {"00M", "1.10", "null"},
        Verdict.DIFFERS,
        "a shuffle is stable over a resume, and every row comes once in each cycle",
        alone=True,
    ),
    Case(
        SEEDS,
        "`PartitionBlock`",
        seeded(local, selection_strategy=dd.PartitionBlock(index=1, num_partitions=2)),
        lambda frame: set(frame.code) == {"null", "true", "007"},
        alone=True,
    ),
    Case(
        SEEDS,
        "directory of files",
        seeded(lambda folder: dd.DirectorySeedSource(path=str(folder), file_pattern="*.csv")),
        lambda frame: all(any(str(value).endswith("seed.csv") for value in row) for row in frame.itertuples()),
        alone=True,
    ),
    Case(
        SEEDS,
        "contents of files",
        seeded(lambda folder: dd.FileContentsSeedSource(path=str(folder), file_pattern="*.csv")),
        lambda frame: any("0E8" in str(value) for value in frame.iloc[0]),
        alone=True,
    ),
    Case(
        SEEDS,
        "data frame",
        seeded(lambda folder: dd.DataFrameSeedSource(df=pd.DataFrame({"code": ["0E8"]}))),
        lambda frame: set(frame.code) == {"0E8"},
        Verdict.DIFFERS,
        "through `from_data_designer(builder)`; an exported file does not hold the rows, which is refused",
        alone=True,
        in_python=True,
    ),
    Case(
        SEEDS,
        "agent rollouts",
        seeded(
            lambda folder: dd.AgentRolloutSeedSource(
                path=str(folder), format=dd.AgentRolloutFormat.ATIF, file_pattern="*"
            )
        ),
        verdict=Verdict.REFUSED,
        why="agent_rollout",
        alone=True,
    ),
    Case(
        MODELS,
        "temperature and top_p as distributions, `max_tokens`, `extra_body`",
        column("m_text", "llm-text", **_TEXT),
        lambda frame: bool((frame.m_text.str.len() > 0).all()),
        Verdict.DIFFERS,
        "drawn from the row's stream, so a resume sends the same; there from a global generator",
    ),
    Case(
        MODELS,
        "an answer without content",
        column("m_answer", "llm-text", **_TEXT),
        lambda frame: bool((frame.m_answer.str.len() > 0).all()),
        Verdict.DIFFERS,
        "a 200 without content is an error: asked again, then the row is rejected; there an empty cell",
    ),
    Case(
        MODELS,
        "two aliases of one model",
        several(
            lambda builder, folder: builder.add_model_config(
                dd.ModelConfig(alias="second", model="m", provider="offline")
            ),
            column("m_second", "llm-text", prompt="Write.", model_alias="second"),
        ),
        lambda frame: bool((frame.m_second.str.len() > 0).all()),
        Verdict.DIFFERS,
        "each has its own limits and its own usage; there the usage is told by model, and one alias hides the other's",
    ),
    Case(
        MODELS,
        "a provider that only Data Designer's own settings name",
        lambda builder, folder: (
            builder.add_model_config(dd.ModelConfig(alias="far", model="m", provider="nvidia")),
            builder.add_column(name="t", column_type="llm-text", prompt="x", model_alias="far"),
        ),
        verdict=Verdict.REFUSED,
        why="provider 'nvidia' is not defined",
        alone=True,
    ),
    Case(
        MODELS,
        "tools: `tool_configs`, `tool_alias`",
        several(
            lambda builder, folder: builder.add_tool_config(
                dd.ToolConfig(tool_alias="search", providers=["p"], allow_tools=["find"], timeout_sec=5)
            ),
            column("t", "llm-text", tool_alias="search", **_TEXT),
        ),
        lambda frame: bool((frame.t.str.len() > 0).all()),
        Verdict.DIFFERS,
        "MCP servers stand in the config (`mcp_providers`); there beside it. After `max_tool_call_turns` the model has to "
        "answer with what it has",
        alone=True,
        beside={
            "mcp_providers": [
                dd.LocalStdioMCPProvider(name="p", command="search-server").model_dump(mode="json"),
                dd.MCPProvider(name="q", endpoint="http://127.0.0.1:1/sse", api_key="SEARCH_API_KEY").model_dump(),
            ]
        },
    ),
    Case(
        MODELS,
        "tools of an MCP server that only Data Designer's own settings name",
        several(
            lambda builder, folder: builder.add_tool_config(dd.ToolConfig(tool_alias="search", providers=["p"])),
            column("t", "llm-text", tool_alias="search", **_TEXT),
        ),
        verdict=Verdict.REFUSED,
        why="tool_configs[0].providers[0]: MCP server 'p' is not defined in mcp_providers",
        alone=True,
    ),
    Case(
        PROCESSORS,
        "`drop_columns`",
        several(
            sampler("kept", "category", values=["x"]),
            sampler("gone", "category", values=["y"]),
            lambda builder, folder: builder.add_processor(
                dd.DropColumnsProcessorConfig(name="p", column_names=["gone"])
            ),
        ),
        lambda frame: list(frame.columns) == ["kept"],
        alone=True,
    ),
    Case(
        PROCESSORS,
        "`schema_transform`",
        several(
            sampler("word", "category", values=["x"]),
            lambda builder, folder: builder.add_processor(
                dd.SchemaTransformProcessorConfig(name="p", template={"text": "<{{ word }}>"})
            ),
        ),
        lambda frame: list(frame.columns) == ["text"] and set(frame.text) == {"<x>"},
        Verdict.DIFFERS,
        "its rows are the dataset (`keep_columns: true` keeps the others); there they are a second one beside it",
        alone=True,
    ),
    Case(
        OTHERS,
        "profilers",
        lambda builder, folder: builder.add_column(
            name="j", column_type="llm-judge", scores=[_SCORE], **_TEXT
        ).add_profiler(dd.JudgeScoreProfilerConfig(model_alias="writer")),
        verdict=Verdict.REFUSED,
        why="profilers: profilers are not supported",
        alone=True,
    ),
]
