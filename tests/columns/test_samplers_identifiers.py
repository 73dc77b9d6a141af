"""Identifiers: unique by construction, well formed, and refused where they would repeat."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from prefect_datagen.columns.sampler import SamplerColumnConfig
from prefect_datagen.columns.samplers.identifiers import SHORT_FORMS, permute
from prefect_datagen.columns.sampling import SeedStageSampler
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.engine.randomness import RowStream


def sampler(params: dict[str, Any], *, seed: int = 1, name: str = "id") -> SeedStageSampler:
    config = SamplerColumnConfig.model_validate({"name": name, "sampler_type": "uuid", "params": params})
    return SeedStageSampler([config], seed=seed)


def draw(params: dict[str, Any], start: int, rows: int, **more: Any) -> pa.Array:
    return sampler(params, **more).sample(start, rows, {}).arrays["id"]


def test_short_forms_of_a_million_rows_are_unique() -> None:
    """Eight random digits would repeat among so many rows: 116 pairs are expected."""
    ids = draw({"short_form": True}, 0, 1_000_000)
    assert len(ids.unique()) == 1_000_000
    assert set(ids.to_pandas().str.fullmatch("[0-9a-f]{8}")) == {True}


def test_short_forms_stay_unique_far_apart_and_up_to_the_last() -> None:
    blocks = [draw({"short_form": True}, start, 100_000) for start in (0, 2**31, SHORT_FORMS - 100_000)]
    assert len(pa.concat_arrays(blocks).unique()) == 300_000


@settings(max_examples=50, deadline=None)
@given(
    st.integers(min_value=0, max_value=2**64 - 1), st.sets(st.integers(min_value=0, max_value=2**32 - 1), min_size=2)
)
def test_the_permutation_gives_different_numbers_different_images(seed: int, numbers: set[int]) -> None:
    keys = RowStream(seed, "x").words(0, 1, 6)[0]
    images = permute(np.array(sorted(numbers), dtype=np.uint32), keys)
    assert len(set(images.tolist())) == len(numbers)


def test_images_spread_evenly_and_do_not_follow_their_rows() -> None:
    keys = RowStream(1, "x").words(0, 1, 6)[0]
    images = permute(np.arange(100_000, dtype=np.uint32), keys).astype(np.float64)
    assert stats.kstest(images, stats.uniform(0, SHORT_FORMS).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(images[1:], images[:-1])[0, 1]) < 4 / 100_000**0.5
    bits = np.unpackbits(permute(np.arange(100_000, dtype=np.uint32), keys).view(np.uint8).reshape(-1, 4), axis=1)
    assert (abs(bits.mean(axis=0) - 0.5) < 4 * 0.5 / 100_000**0.5).all()


def test_the_long_form_is_a_version_4_uuid_that_starts_with_the_short_one() -> None:
    long, short = draw({}, 5, 10_000), draw({"short_form": True}, 5, 10_000)
    assert len(long.unique()) == 10_000
    for text, start in zip(long.to_pylist(), short.to_pylist(), strict=True):
        parsed = uuid.UUID(text)
        assert parsed.hex == text
        assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)
        assert text[:8] == start


def test_prefix_and_uppercase() -> None:
    plain = draw({"short_form": True}, 0, 20).to_pylist()
    assert draw({"short_form": True, "uppercase": True, "prefix": "usér-"}, 0, 20).to_pylist() == [
        f"usér-{text.upper()}" for text in plain
    ]


def test_seeds_and_columns_have_their_own_identifiers() -> None:
    one, other_seed = draw({}, 0, 1_000), draw({}, 0, 1_000, seed=2)
    other_column = sampler({}, name="key").sample(0, 1_000, {}).arrays["key"]
    assert len(pa.concat_arrays([one, other_seed, other_column]).unique()) == 3_000


def test_more_short_forms_than_there_are_are_refused() -> None:
    short = sampler({"short_form": True})
    short.require_room(SHORT_FORMS)
    with pytest.raises(ConfigError, match=r"columns.id.params.short_form: 4,294,967,297 rows share 4,294,967,296"):
        short.require_room(SHORT_FORMS + 1)
    with pytest.raises(ConfigError, match=r"column 'id': params.short_form has 4,294,967,296 identifiers and row"):
        short.sample(SHORT_FORMS - 1, 2, {})
    assert len(short.sample(SHORT_FORMS - 2, 2, {}).arrays["id"].unique()) == 2


def test_the_long_form_goes_on_where_the_short_one_ends() -> None:
    long = sampler({})
    long.require_room(SHORT_FORMS * 10)
    blocks = [long.sample(start, 1_000, {}).arrays["id"] for start in (0, SHORT_FORMS, 2 * SHORT_FORMS)]
    assert len(pa.concat_arrays(blocks).unique()) == 3_000
    assert blocks[0][0].as_py()[:8] == blocks[1][0].as_py()[:8]
