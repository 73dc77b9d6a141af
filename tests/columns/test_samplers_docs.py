"""docs/samplers.md: its example runs, and its tables hold what the code holds."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import TypeAdapter

from prefect_datagen.columns.constraints import AnyConstraint
from prefect_datagen.columns.sampler import SamplerColumnConfig, SamplerType
from prefect_datagen.columns.samplers.people import PERSON
from prefect_datagen.columns.sampling import SeedStageSampler

PAGE = (Path(__file__).parents[2] / "docs" / "samplers.md").read_text(encoding="utf-8")


def test_the_example_draws_what_it_says() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    data: dict[str, Any] = yaml.safe_load(text)
    columns = [SamplerColumnConfig.model_validate(column) for column in data["columns"]]
    constraints = [TypeAdapter(AnyConstraint).validate_python(one) for one in data["constraints"]]
    arrays = SeedStageSampler(columns, constraints, seed=1).sample(0, 500, {}).arrays
    assert set(arrays["tier"].to_pylist()) == {"free", "pro", "team"}
    assert max(map(date.fromisoformat, arrays["last_seen"].to_pylist())) < date(2025, 6, 1)
    seats: dict[str, list[int]] = {}
    for tier, count in zip(arrays["tier"].to_pylist(), arrays["seats"].to_pylist(), strict=True):
        seats.setdefault(tier, []).append(count)
    assert sum(seats["team"]) / len(seats["team"]) > 5 > sum(seats["free"]) / len(seats["free"])


def test_every_sampler_and_all_its_params_stand_on_the_page() -> None:
    table = PAGE.split("## Types")[1].split("**Categories.**")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[1])} == set(get_args(SamplerType))
    refused = {"select_field_values", "with_synthetic_personas", "sampler_type"}
    for params in get_args(SamplerColumnConfig.model_fields["params"].annotation):
        kind = params.model_fields["sampler_type"].default
        row = next(row for row in rows if f"`{kind}`" in row[1])
        assert set(params.model_fields) - refused <= set(re.findall(r"`(\w+)`", row[2])), kind


def test_every_field_of_a_person_stands_on_the_page() -> None:
    assert {field.name for field in PERSON} <= set(re.findall(r"`(\w+)`", PAGE))
