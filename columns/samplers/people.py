"""People by Faker: a record per row whose fields agree with each other.

What can be drawn from the row's words is (sex, age, birth date, marital status, education, mailbox). Names, address,
occupation and telephone come from Faker in the locale asked for, seeded anew for each row from the row's words: about
200 microseconds per row. The e-mail address follows from the name and stands in a domain reserved for examples
(RFC 2606). Children have no telephone, no mailbox and no occupation.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from prefect_datagen.columns.samplers.base import Conversion, Plan, Rows, SamplerParams, Target, TimeText, pick
from prefect_datagen.engine.randomness import unit

MAX_AGE = 114
ADULT = 18

PERSON = pa.struct(
    [
        *((name, pa.string()) for name in ("uuid", "locale", "first_name", "middle_name", "last_name", "sex")),
        ("age", pa.int64()),
        *((name, pa.string()) for name in ("birth_date", "marital_status", "education_level", "bachelors_field")),
        *((name, pa.string()) for name in ("occupation", "email_address", "phone_number", "street_number")),
        *((name, pa.string()) for name in ("street_name", "unit", "city", "region", "state", "postcode", "country")),
    ]
)
"""The record of a person. `region` and `state` are the same; `birth_date` is ISO 8601."""

_Sex = Literal["Male", "Female"]
_SEXES = ("Male", "Female")
_MARITAL_STATUS = ("married_present", "divorced", "never_married", "separated", "widowed")
_BACHELORS_FIELDS = ("stem", "business", "education", "arts_humanities", "stem_related")
_DOMAINS = ("example.com", "example.org", "example.net")
_EDUCATION = ("secondary_education", "some_college", "associates", "bachelors", "graduate", "doctorate")
_EDUCATION_AGES = np.array([0, 18, 20, 21, 23, 26])  # youngest age for each level
_FROM_BACHELORS = _EDUCATION.index("bachelors")

# Locales of persona datasets that Faker knows by another name.
_FAKER_LOCALES = {"hi_Deva_IN": "hi_IN", "hi_Latn_IN": "en_IN"}

_local = threading.local()


class _People(SamplerParams):
    conversion: ClassVar[Conversion] = Conversion.NONE

    locale: str = Field(default="en_US", description="A locale of Faker, such as en_GB, fr_FR or ja_JP.")
    sex: _Sex | None = Field(default=None, description="Only people of this sex.")
    city: str | list[str] | None = Field(default=None, description="Only people from this city, or one of these.")
    age_range: list[int] = Field(
        default=[ADULT, MAX_AGE], min_length=2, max_length=2, description="Least and largest age in years, inclusive."
    )
    as_of: TimeText = Field(
        default="2025-01-01",
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="Day on which people have their age; fixed, so that a dataset is the same on any day it is made.",
    )

    def check(self, convert_to: str | None) -> Iterable[tuple[str, str]]:
        """A locale of Faker, an age range in order, a city."""
        from faker.config import AVAILABLE_LOCALES

        if _FAKER_LOCALES.get(self.locale, self.locale) not in AVAILABLE_LOCALES:
            yield "locale", f"{self.locale!r} is no locale of Faker; there are {', '.join(sorted(AVAILABLE_LOCALES))}"
        low, high = self.age_range
        if not 0 <= low <= high <= MAX_AGE:
            yield "age_range", f"{self.age_range!r} must be two ages in order, from 0 to {MAX_AGE}"
        if self.city == [] or self.city == "":
            yield "city", "is empty; leave it out for any city"
        try:
            date.fromisoformat(self.as_of)
        except ValueError as error:
            yield "as_of", f"{self.as_of!r} is no date: {error}"

    def drawn_type(self) -> pa.DataType:
        """The record of a person."""
        return PERSON

    def plan(self, target: Target) -> Plan:
        """Eleven words per row, the last of which seeds Faker."""
        as_of = date.fromisoformat(self.as_of)
        low, high = self.age_range
        cities = [self.city] if isinstance(self.city, str) else self.city

        def draw(rows: Rows) -> pa.Array:
            words = rows.words
            sexes = [self.sex] * len(words) if self.sex else _chosen(_SEXES, words[:, 0])
            ages = low + pick(words[:, 1], high - low + 1)
            births = [
                _birth_date(age, share, as_of) for age, share in zip(ages.tolist(), unit(words[:, 2]), strict=True)
            ]
            faker = _RowFaker(self.locale)
            drawn = [faker.person(sex, seed) for sex, seed in zip(sexes, words[:, 10].tolist(), strict=True)]
            fields: dict[str, Sequence[Any]] = {name: [person[name] for person in drawn] for name in _RowFaker.FIELDS}
            if cities:
                fields["city"] = _chosen(cities, words[:, 3])
            fields |= self._drawn_fields(words, ages, sexes, births)
            adults = ages >= ADULT
            for name in ("phone_number", "occupation"):
                fields[name] = _where(adults, fields[name])
            mailboxes = _mailboxes(fields["first_name"], fields["last_name"], births, _chosen(_DOMAINS, words[:, 4]))
            fields["email_address"] = _where(adults, mailboxes)
            arrays = [pa.array(fields[field.name], field.type) for field in PERSON]
            return pa.StructArray.from_arrays(arrays, fields=list(PERSON))

        return Plan(11, draw)

    def _drawn_fields(
        self, words: NDArray[np.uint64], ages: NDArray[np.int64], sexes: Sequence[str], births: Sequence[date]
    ) -> dict[str, Sequence[Any]]:
        count = len(words)
        levels = pick(words[:, 5], np.searchsorted(_EDUCATION_AGES, ages, side="right"))
        marital = _chosen(_MARITAL_STATUS, words[:, 6])
        bachelors = _chosen(_BACHELORS_FIELDS, words[:, 7])
        return {
            "uuid": [_uuid(high, low) for high, low in words[:, 8:10].tolist()],
            "locale": [self.locale] * count,
            "sex": sexes,
            "middle_name": [None] * count,
            "unit": [""] * count,
            "age": ages.tolist(),
            "birth_date": [birth.isoformat() for birth in births],
            "education_level": [_EDUCATION[level] for level in levels],
            "bachelors_field": _where(levels >= _FROM_BACHELORS, bachelors, "no_degree"),
            "marital_status": _where(ages >= ADULT, marital, "never_married"),
        }


class PersonFromFakerSamplerParams(_People):
    """People by Faker: basic and not true to any demography."""

    sampler_type: Literal["person_from_faker"] = "person_from_faker"


class PersonSamplerParams(_People):
    """People by Faker, under the name that configs for persona datasets use; those datasets are not read."""

    sampler_type: Literal["person"] = "person"
    select_field_values: dict[str, list[str]] | None = Field(
        default=None, description="Not supported: it selects from a persona dataset. Use sex, city and age_range."
    )
    with_synthetic_personas: bool = Field(
        default=False, description="Not supported: personas come from a persona dataset. Write them with a model."
    )

    def check(self, convert_to: str | None) -> Iterable[tuple[str, str]]:
        """As for Faker's people, and that nothing of a persona dataset is asked for."""
        yield from super().check(convert_to)
        if self.select_field_values:
            yield "select_field_values", "needs a persona dataset, which is not read here; use sex, city and age_range"
        if self.with_synthetic_personas:
            yield "with_synthetic_personas", "needs a persona dataset, which is not read here; write it with a model"


class _RowFaker:
    """A Faker generator of one locale that is seeded anew for each row. Each thread has its own."""

    FIELDS: ClassVar[tuple[str, ...]] = (
        *("first_name", "last_name", "occupation", "phone_number", "street_number", "street_name"),
        *("city", "region", "state", "postcode", "country"),
    )

    def __init__(self, locale: str) -> None:
        generators: dict[str, Any] = _local.__dict__.setdefault("generators", {})
        if locale not in generators:
            generators[locale] = _faker_generator(locale)
        self._faker = generators[locale]
        # Locales differ in what they have: not all have states, en_PH has no telephones.
        self._maybe: dict[str, Callable[[], str] | None] = {
            name: getattr(self._faker, name, None) for name in ("administrative_unit", "state", "phone_number")
        }
        self._postcodes = _postcodes_by_state(self._faker)

    def person(self, sex: str, seed: int) -> dict[str, str | None]:
        """Names, address, occupation and telephone of one row."""
        faker = self._faker
        faker.random.seed(seed)
        state = (self._maybe["administrative_unit"] or self._maybe["state"] or _nothing)()
        return {
            "first_name": faker.first_name_male() if sex == "Male" else faker.first_name_female(),
            "last_name": faker.last_name_male() if sex == "Male" else faker.last_name_female(),
            "occupation": faker.job(),
            "phone_number": (self._maybe["phone_number"] or _nothing)(),
            "street_number": str(faker.building_number()),
            "street_name": faker.street_name(),
            "city": faker.city(),
            "region": state,
            "state": state,
            "postcode": str(self._postcodes(state) if state else faker.postcode()),
            "country": _country(faker),
        }


def _faker_generator(locale: str) -> Any:
    from faker.factory import Factory

    generator = Factory.create(_FAKER_LOCALES.get(locale, locale))
    generator.random = random.Random(0)  # its own, instead of the one that all generators share
    return generator


def _postcodes_by_state(faker: Any) -> Callable[[str], str]:
    """Postcodes that lie in the state where Faker knows which do (en_US, hy_AM), else any of the locale."""
    needed = ("states", "states_abbr", "states_postcode")
    provider = next((one for one in faker.get_providers() if all(hasattr(one, name) for name in needed)), None)
    if provider is None:
        return lambda state: faker.postcode()
    short = [abbreviation for abbreviation in provider.states_abbr if abbreviation != "DC"]
    abbreviations = dict(zip(provider.states, short, strict=True))
    return lambda state: faker.postcode_in_state(abbreviations[state])


def _country(faker: Any) -> str | None:
    try:
        return str(faker.current_country())
    except ValueError:  # Faker has no name for the country
        return None


def _nothing() -> None:
    return None


def _chosen(options: Sequence[str], words: NDArray[np.uint64]) -> list[str]:
    return [options[position] for position in pick(words, len(options))]


def _where(mask: NDArray[np.bool_], values: Sequence[Any], otherwise: Any = None) -> list[Any]:
    return [value if keep else otherwise for keep, value in zip(mask, values, strict=True)]


def _birth_date(age: int, share: float, as_of: date) -> date:
    """A day, evenly among those on which someone was born who is `age` years old on `as_of`."""
    oldest = _years_before(as_of, age + 1) + timedelta(days=1)
    return oldest + timedelta(days=int(share * ((_years_before(as_of, age) - oldest).days + 1)))


def _years_before(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year - years)
    except ValueError:  # 29 February of a year that has none
        return day.replace(year=day.year - years, day=28)


def _uuid(high: int, low: int) -> str:
    bits = (high << 64 | low) & ~(0xF << 76) & ~(0x3 << 62) | 0x4 << 76 | 0x2 << 62
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _mailboxes(first: Sequence[str], last: Sequence[str], births: Sequence[date], domains: Sequence[str]) -> list[str]:
    parts = zip(first, last, births, domains, strict=True)
    return [
        f"{_ascii(one) or 'mail'}.{_ascii(two) or 'box'}{birth.year % 100:02d}@{at}" for one, two, birth, at in parts
    ]


def _ascii(name: str) -> str:
    from faker.decode import unidecode

    return re.sub(r"[^a-z0-9]", "", str(unidecode(name)).lower())
