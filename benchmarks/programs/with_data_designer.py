"""By NVIDIA NeMo Data Designer: `cells URL ROWS PARALLEL` are the three cells of each row, `tabular ROWS` the other one."""

import json
import logging
import sys
import tempfile
import time

import data_designer.config as dd
import tiktoken
from data_designer.interface import DataDesigner


class _Words:
    """Stands for tiktoken's encoding, which is fetched from the internet: counts words, at less cost."""

    def encode(self, text: str, **_: object) -> list[str]:
        return text.split()


tiktoken.get_encoding = tiktoken.encoding_for_model = lambda *_, **__: _Words()


def cells(parallel: int) -> dd.DataDesignerConfigBuilder:
    """Two independent model columns and one that reads both."""
    parameters = dd.ChatCompletionInferenceParams(max_parallel_requests=parallel)
    model = dd.ModelConfig(
        alias="m", model="mock", provider="mock", inference_parameters=parameters, skip_health_check=True
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    builder.add_column(dd.SamplerColumnConfig(name="id", sampler_type="uuid", params=dd.UUIDSamplerParams()))
    builder.add_column(dd.LLMTextColumnConfig(name="a", model_alias="m", prompt="First about {{ id }}."))
    builder.add_column(dd.LLMTextColumnConfig(name="b", model_alias="m", prompt="Second about {{ id }}."))
    builder.add_column(dd.LLMTextColumnConfig(name="c", model_alias="m", prompt="Join {{ a }} and {{ b }}."))
    return builder


def tabular() -> dd.DataDesignerConfigBuilder:
    """The dataset of `benchmarks.jobs.tabular`, without its SQL expression, which Data Designer has no column for."""
    builder = dd.DataDesignerConfigBuilder(model_configs=[])

    def sampler(name: str, kind: str, params: object) -> None:
        builder.add_column(dd.SamplerColumnConfig(name=name, sampler_type=kind, params=params))

    colours = ["red", "green", "blue"]
    sampler("colour", "category", dd.CategorySamplerParams(values=colours, weights=[3, 2, 1]))
    shades = {colour: ["dark", "light"] for colour in colours}
    sampler("shade", "subcategory", dd.SubcategorySamplerParams(category="colour", values=shades))
    sampler("size", "gaussian", dd.GaussianSamplerParams(mean=10, stddev=2))
    sampler("count", "poisson", dd.PoissonSamplerParams(mean=4))
    sampler("share", "uniform", dd.UniformSamplerParams(low=0, high=1))
    sampler("flag", "bernoulli", dd.BernoulliSamplerParams(p=0.3))
    sampler("day", "datetime", dd.DatetimeSamplerParams(start="2024-01-01", end="2025-01-01"))
    builder.add_column(dd.ExpressionColumnConfig(name="label", expr="{{ colour }} {{ shade }} #{{ count }}"))
    kind = "{% if flag %}{{ colour }}{% else %}plain{% endif %}"
    builder.add_column(dd.ExpressionColumnConfig(name="kind", expr=kind))
    return builder


def main() -> None:
    """Build and print what it took."""
    what, *rest = sys.argv[1:]
    url, rows, parallel = (
        (rest[0], int(rest[1]), int(rest[2])) if what == "cells" else ("http://127.0.0.1/v1", int(rest[0]), 1)
    )
    with tempfile.TemporaryDirectory() as folder:
        provider = dd.ModelProvider(name="mock", endpoint=url, provider_type="openai", api_key="none")
        designer = DataDesigner(artifact_path=folder, model_providers=[provider])
        logging.disable(logging.INFO)
        designer.set_run_config(dd.RunConfig(buffer_size=1000, max_in_flight_tasks=max(parallel, 16) * 2))
        started = time.perf_counter()
        results = designer.create(cells(parallel) if what == "cells" else tabular(), num_records=rows)
        seconds = time.perf_counter() - started
        made = len(results.load_dataset())
    print("\n" + json.dumps({"made_seconds": seconds, "rows": made}))


main()
