"""Model configs and providers: the words of Data Designer's configs, their bounds, and masked keys."""

from __future__ import annotations

from typing import Any

import data_designer.config.models as referee
import orjson
import pytest
from pydantic import ValidationError

from prefect_datagen.models.config import (
    MASK,
    ChatInferenceParameters,
    EmbeddingInferenceParameters,
    ManualDistribution,
    ModelConfig,
    ModelProvider,
    UniformDistribution,
    names_variable,
)

KEY = "sk-very-secret-0123456789"


@pytest.mark.parametrize(
    "parameters",
    [
        referee.ChatCompletionInferenceParams(temperature=0.5, top_p=0.9, max_tokens=100, timeout=60),
        referee.ChatCompletionInferenceParams(
            temperature=referee.UniformDistribution(params=referee.UniformDistributionParams(low=0.2, high=0.9)),
            top_p=referee.ManualDistribution(
                params=referee.ManualDistributionParams(values=[0.5, 1.0], weights=[1.0, 3.0])
            ),
            extra_body={"top_k": 5},
        ),
        referee.EmbeddingInferenceParams(encoding_format="base64", dimensions=8),
        referee.ImageInferenceParams(extra_body={"size": "1024x1024"}, max_parallel_requests=9),
    ],
)
def test_what_data_designer_exports_loads(parameters: referee.BaseInferenceParams) -> None:
    exported = referee.ModelConfig(alias="a", model="m", provider="p", inference_parameters=parameters)
    for form in (exported.model_dump(mode="json"), exported.model_dump(mode="json", exclude_none=True)):
        config = ModelConfig.model_validate(orjson.loads(orjson.dumps(form)))
        written = config.inference_parameters.model_dump(mode="json", exclude_none=True)
        assert written == parameters.model_dump(mode="json", exclude_none=True)


def test_a_provider_of_data_designer_loads() -> None:
    exported = referee.ModelProvider(name="p", endpoint="http://host/v1", provider_type="OpenAI", api_key="MY_KEY")
    provider = ModelProvider.model_validate(exported.model_dump(mode="json"))
    assert (provider.provider_type, provider.api_key) == ("openai", "MY_KEY")


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({}, ChatInferenceParameters),
        ({"temperature": 0.1}, ChatInferenceParameters),
        ({"dimensions": 8}, EmbeddingInferenceParameters),
        ({"generation_type": None, "encoding_format": "float"}, EmbeddingInferenceParameters),
    ],
)
def test_the_generation_type_may_be_left_out(given: dict[str, Any], kind: type) -> None:
    config = ModelConfig.model_validate({"alias": "a", "model": "m", "inference_parameters": given})
    assert type(config.inference_parameters) is kind


def test_the_distribution_type_may_be_left_out() -> None:
    parameters = ChatInferenceParameters.model_validate(
        {"temperature": {"params": {"low": 0.1, "high": 0.5}}, "top_p": {"params": {"values": [0.5]}}}
    )
    assert isinstance(parameters.temperature, UniformDistribution)
    assert isinstance(parameters.top_p, ManualDistribution)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"temperature": 2.1}, "2.1 is not from 0 to 2"),
        ({"top_p": -0.1}, "-0.1 is not from 0 to 1"),
        ({"top_p": {"params": {"values": [0.5, 1.5]}}}, "1.5 is not from 0 to 1"),
        ({"temperature": {"params": {"low": 1, "high": 3}}}, "3 is not from 0 to 2"),
        ({"temperature": {"params": {"low": 1, "high": 1}}}, "low 1 is not below high 1"),
        ({"top_p": {"params": {"values": [0.5], "weights": [1, 2]}}}, "2 weights for 1 values"),
        ({"top_p": {"params": {"values": [0.5], "weights": [0]}}}, "at least one above"),
        ({"max_tokens": 0}, "greater than or equal to 1"),
        ({"temprature": 1}, "Extra inputs"),
    ],
)
def test_what_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        ChatInferenceParameters.model_validate(given)


def test_a_literal_key_is_masked_wherever_the_config_is_written_or_shown() -> None:
    provider = ModelProvider(name="p", api_key=KEY, extra_headers={"X-Api-Key": KEY, "X-Team": "red"})
    assert KEY not in f"{provider} {provider!r} {provider.model_dump()} {provider.model_dump_json()}"
    assert provider.model_dump()["api_key"] == MASK
    assert provider.model_dump()["extra_headers"] == {"X-Api-Key": MASK, "X-Team": "red"}
    assert provider.api_key == KEY


def test_names_of_variables_and_references_are_written_as_they_are() -> None:
    for text in ("OPENAI_API_KEY", "{{ prefect.blocks.secret.openai }}"):
        assert ModelProvider(name="p", api_key=text).model_dump()["api_key"] == text
    assert ModelProvider(name="p").model_dump()["api_key"] is None


@pytest.mark.parametrize("text", ["sk-abc", "hf_AbCdEf", "AKIA1234567890", "my_key", "A B_C", ""])
def test_what_does_not_look_like_a_variable_is_taken_for_the_key_itself(text: str) -> None:
    assert not names_variable(text)
