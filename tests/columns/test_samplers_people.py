"""People: fields that agree with each other, in the locale that was asked for, the same on any day."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

import pytest
from faker.config import AVAILABLE_LOCALES
from faker.factory import Factory
from scipy import stats

from prefect_datagen.columns.sampler import SamplerColumnConfig
from prefect_datagen.columns.sampling import SeedStageSampler


def people(rows: int, sampler_type: str = "person_from_faker", **params: Any) -> list[dict[str, Any]]:
    data = {"name": "who", "sampler_type": sampler_type, "params": params}
    config = SamplerColumnConfig.model_validate(data)
    drawn: list[dict[str, Any]] = SeedStageSampler([config], seed=1).sample(0, rows, {}).arrays["who"].to_pylist()
    return drawn


def age_on(day: date, birth: date) -> int:
    return day.year - birth.year - ((day.month, day.day) < (birth.month, birth.day))


@pytest.mark.parametrize("as_of", ["2025-01-01", "2024-02-29", "2023-12-31"])
def test_the_birth_date_gives_the_age_on_the_day_of_reference(as_of: str) -> None:
    for one in people(300, age_range=[0, 3], as_of=as_of) + people(300, as_of=as_of):
        assert age_on(date.fromisoformat(as_of), date.fromisoformat(one["birth_date"])) == one["age"]


def test_birth_dates_spread_over_the_year() -> None:
    months = Counter(one["birth_date"][5:7] for one in people(1_000, age_range=[30, 30]))
    assert len(months) == 12
    assert stats.chisquare(list(months.values())).pvalue > 1e-3


def test_ages_and_sexes_spread_evenly_over_what_was_asked_for() -> None:
    drawn = people(1_000, age_range=[20, 29])
    ages = Counter(one["age"] for one in drawn)
    assert sorted(ages) == list(range(20, 30))
    assert stats.chisquare(list(ages.values())).pvalue > 1e-3
    assert stats.binomtest(sum(one["sex"] == "Male" for one in drawn), 1_000, 0.5).pvalue > 1e-3


@pytest.mark.parametrize("sex", ["Male", "Female"])
def test_first_names_are_those_of_the_sex(sex: str) -> None:
    provider = next(one for one in Factory.create("en_US").get_providers() if hasattr(one, "first_names_male"))
    names = set(provider.first_names_male if sex == "Male" else provider.first_names_female)
    for one in people(200, sex=sex):
        assert one["sex"] == sex
        assert one["first_name"] in names


def test_mailboxes_follow_from_name_and_birth() -> None:
    for one in people(200, age_range=[18, 60]):
        mailbox, domain = one["email_address"].split("@")
        assert domain in ("example.com", "example.org", "example.net")
        assert mailbox == f"{one['first_name']}.{one['last_name']}{one['birth_date'][2:4]}".lower()


def test_children_have_no_mailbox_telephone_occupation_or_degree() -> None:
    for one in people(200, age_range=[0, 17]):
        assert one["email_address"] is one["phone_number"] is one["occupation"] is None
        assert (one["marital_status"], one["education_level"]) == ("never_married", "secondary_education")
        assert one["bachelors_field"] == "no_degree"


def test_degrees_take_their_years() -> None:
    drawn = people(500, age_range=[18, 26])
    youngest = {
        level: min(one["age"] for one in drawn if one["education_level"] == level)
        for level in {one["education_level"] for one in drawn}
    }
    assert youngest["doctorate"] == 26
    assert youngest["bachelors"] >= 21
    for one in drawn:
        with_degree = one["education_level"] in ("bachelors", "graduate", "doctorate")
        assert (one["bachelors_field"] != "no_degree") is with_degree


def test_american_postcodes_lie_in_their_state() -> None:
    generator = Factory.create("en_US")
    provider = next(one for one in generator.get_providers() if hasattr(one, "states_postcode"))
    short = dict(zip(provider.states, [one for one in provider.states_abbr if one != "DC"], strict=True))
    assert short["Wyoming"] == "WY"
    for one in people(200):
        low, high = provider.states_postcode[short[one["state"]]]
        assert low <= int(one["postcode"]) <= high
        assert len(one["postcode"]) == 5
        assert (one["region"], one["country"]) == (one["state"], "United States")


def test_only_the_cities_asked_for() -> None:
    assert {one["city"] for one in people(50, city="Springfield")} == {"Springfield"}
    assert {one["city"] for one in people(50, city=["Ulm", "Kiel"])} == {"Ulm", "Kiel"}


@pytest.mark.parametrize(
    ("locale", "country"),
    [
        ("de_DE", "Germany"),
        ("ja_JP", "Japan"),
        ("en_PH", "Philippines"),
        ("pt_BR", "Brazil"),
        ("en_MS", None),
        ("ar_SA", "United States"),  # Faker has names of it, but no addresses: its default stands in
    ],
)
def test_people_of_a_locale_have_what_faker_has_of_it(locale: str, country: str | None) -> None:
    assert locale in AVAILABLE_LOCALES
    for one in people(20, locale=locale, age_range=[18, 80]):
        assert one["locale"] == locale
        assert one["first_name"]
        assert one["last_name"]
        assert one["email_address"].isascii()
        assert one["city"]
        if country:
            assert one["country"] == country


@pytest.mark.filterwarnings("ignore:fr_QC locale is deprecated")
def test_every_locale_of_faker_makes_people() -> None:
    for locale in AVAILABLE_LOCALES:
        for one in people(2, locale=locale):
            assert one["first_name"], locale
            assert one["city"], locale
            assert one["email_address"].isascii(), locale


def test_person_is_the_same_under_both_names_and_knows_the_locales_of_persona_datasets() -> None:
    assert people(5, "person") == people(5)
    indian = people(5, "person", locale="hi_Deva_IN")
    assert {one["country"] for one in indian} == {"India"}
    assert {one["locale"] for one in indian} == {"hi_Deva_IN"}


def test_people_have_different_identities() -> None:
    drawn = people(500)
    assert len({one["uuid"] for one in drawn}) == 500
    assert len({(one["first_name"], one["last_name"], one["street_name"]) for one in drawn}) == 500
    assert {one["uuid"][14] for one in drawn} == {"4"}
    assert {one["uuid"][19] for one in drawn} <= set("89ab")
