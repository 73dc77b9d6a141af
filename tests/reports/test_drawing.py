"""What is drawn follows the numbers; text from data never becomes markup."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from xml.etree import ElementTree

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_datagen.reports.bars import draw_bar, draw_histogram
from prefect_datagen.reports.errors import QueryError
from prefect_datagen.reports.formats import show
from prefect_datagen.reports.lines import draw_area, draw_line
from prefect_datagen.reports.scales import exact_axis, number_axis, time_ticks
from prefect_datagen.reports.spec import AreaConfig, BarConfig, HistogramConfig, LineConfig
from prefect_datagen.reports.svg import element, escape, shortened, text_width
from prefect_datagen.reports.values import Scale, as_json, column

Numbers = st.lists(st.floats(-1e9, 1e9, allow_nan=False), min_size=1, max_size=12)


def parsed(content: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<svg>{content}</svg>")


def bar(**fields: object) -> BarConfig:
    return BarConfig.model_validate({"type": "bar", "sql": "-", "x": "x", "y": "y", **fields})


def bars(table: pa.Table, **fields: object) -> list[ElementTree.Element]:
    return parsed(draw_bar(bar(**fields), table, width=600).content).findall(".//rect[title]")


class TestBars:
    @settings(deadline=None)
    @given(st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=8))
    def test_heights_are_in_proportion_to_the_values(self, values):
        table = pa.table({"x": [f"n{n}" for n in range(len(values))], "y": pa.array(values, pa.float64())})
        heights = [float(each.get("height")) for each in bars(table, horizontal=False)]
        for height, value in zip(heights, values, strict=True):
            assert height == pytest.approx(max(heights) * (value / (max(values) or 1)), abs=0.2)

    def test_every_bar_says_its_name_and_value(self):
        table = pa.table({"x": ["a", "b"], "y": [1, 2000]})
        assert [each.find("title").text for each in bars(table)] == ["a: 1", "b: 2,000"]

    def test_shares_add_up_to_the_whole(self):
        table = pa.table({"x": ["a", "a", "b"], "y": [1, 3, 5], "s": ["p", "q", "p"]})
        found = bars(table, color="s", stack="share", horizontal=False)
        heights = [float(each.get("height")) for each in found]
        assert heights[0] + heights[1] == pytest.approx(heights[2], abs=0.2)
        assert heights[1] == pytest.approx(3 * heights[0], abs=0.2)

    def test_negative_values_hang_below_the_line(self):
        up, down = bars(pa.table({"x": ["a", "b"], "y": [2, -2]}), horizontal=False)
        assert float(up.get("y")) + float(up.get("height")) == pytest.approx(float(down.get("y")), abs=0.2)

    def test_long_names_lie_beside_their_bars_and_are_whole_in_the_hint(self):
        name = "a name that is far too long for a bar that stands upright " * 2
        drawing = parsed(draw_bar(bar(), pa.table({"x": [name, "b"], "y": [1, 2]}), width=360).content)
        assert drawing.find(".//g/title").text == name
        assert "…" in drawing.find(".//g/text").text

    def test_more_series_than_colours_become_one_more(self):
        table = pa.table({"x": ["a"] * 12, "y": [1] * 12, "s": [f"s{n}" for n in range(12)]})
        names = [each.find("title").text for each in bars(table, color="s")]
        assert len(names) == 8
        assert names[-1] == "a, other: 5"

    def test_more_bars_than_fit_are_told(self):
        drawing = draw_bar(bar(), pa.table({"x": [str(n) for n in range(100)], "y": range(100)}), width=600)
        assert drawing.note == "The first 60 of 100 bars are shown."

    def test_a_column_that_is_not_there_is_named(self):
        with pytest.raises(QueryError, match="no column 'y'; it returns x, z"):
            draw_bar(bar(), pa.table({"x": ["a"], "z": [1]}), width=600)

    def test_text_is_not_a_length(self):
        with pytest.raises(QueryError, match="'y' holds no numbers"):
            draw_bar(bar(), pa.table({"x": ["a"], "y": ["1.10"]}), width=600)

    @pytest.mark.parametrize("values", [[], [None], [math.nan], [math.inf]])
    def test_nothing_to_draw_is_drawn_as_nothing(self, values):
        table = pa.table({"x": pa.array(["a"] * len(values), pa.string()), "y": pa.array(values, pa.float64())})
        assert parsed(draw_bar(bar(), table, width=360).content) is not None


class TestHistograms:
    def test_every_value_is_in_one_bin(self):
        config = HistogramConfig(type="histogram", sql="-", x="x", bins=7)
        drawing = parsed(
            draw_histogram(config, pa.table({"x": [1.0, 2.0, 2.5, None, math.nan, 9.0]}), width=600).content
        )
        counts = [each.find("title").text.rsplit(": ", 1)[1] for each in drawing.findall(".//rect[title]")]
        assert sum(map(int, counts)) == 4

    def test_bins_that_the_query_counted_are_drawn_as_they_are(self):
        config = HistogramConfig(type="histogram", sql="-", x="low", x_end="high", y="n")
        table = pa.table({"low": [0.5, 1.5], "high": [1.5, 2.5], "n": [3, 4]})
        drawing = parsed(draw_histogram(config, table, width=600).content)
        assert [each.find("title").text for each in drawing.findall(".//rect[title]")] == ["1: 3", "2: 4"]

    def test_times_are_put_into_bins(self):
        config = HistogramConfig(type="histogram", sql="-", x="t", bins=2)
        table = pa.table({"t": pa.array([date(2025, 1, 1), date(2025, 1, 2), date(2025, 1, 5)], pa.date32())})
        drawing = parsed(draw_histogram(config, table, width=600).content)
        assert drawing.find(".//rect/title").text == "2025-01-01 to 2025-01-03: 2"


class TestLines:
    LINE = LineConfig(type="line", sql="-", x="x", y="y")

    def test_a_missing_value_is_a_gap(self):
        table = pa.table({"x": [1, 2, 3, 4], "y": [1.0, None, 2.0, 3.0]})
        path = parsed(draw_line(self.LINE, table, width=600).content).find(".//path[@class='l1']").get("d")
        assert (path.count("M"), path.count("L")) == (2, 1)

    def test_rows_are_drawn_in_the_order_of_the_axis(self):
        table = pa.table({"x": [3, 1, 2], "y": [3, 1, 2]})
        path = parsed(draw_line(self.LINE, table, width=600).content).find(".//path[@class='l1']").get("d")
        places = [float(x) for x in re.findall(r"[ML]([\d.]+) ", path)]
        assert places == sorted(places)

    def test_names_keep_the_order_of_the_rows(self):
        table = pa.table({"x": ["mon", "tue", "wed"], "y": [1, 2, 3]})
        hints = [
            each.text for each in parsed(draw_line(self.LINE, table, width=600).content).findall(".//circle/title")
        ]
        assert hints == ["mon: 1", "tue: 2", "wed: 3"]

    def test_areas_stand_on_each_other(self):
        config = AreaConfig(type="area", sql="-", x="x", y=["a", "b"])
        drawing = parsed(draw_area(config, pa.table({"x": [1, 2], "a": [1, 1], "b": [2, 2]}), width=600).content)
        hints = [each.text for each in drawing.findall(".//circle/title")]
        assert hints == ["a, 1: 1", "a, 2: 1", "b, 1: 3", "b, 2: 3"]

    def test_several_columns_and_a_colour_are_one_too_many(self):
        config = LineConfig(type="line", sql="-", x="x", y=["a", "b"], color="c")
        with pytest.raises(QueryError, match="not both"):
            draw_line(config, pa.table({"x": [1], "a": [1], "b": [1], "c": ["s"]}), width=600)


class TestAxes:
    @settings(deadline=None)
    @given(Numbers, st.booleans())
    def test_an_axis_holds_all_values_between_its_outer_ticks(self, values, zero):
        axis = number_axis(values, count=4, zero=zero)
        slack = 1e-6 * max(1, abs(axis.low), abs(axis.high))
        assert axis.low - slack <= min(values)
        assert max(values) <= axis.high + slack
        assert axis.low < axis.high
        assert 2 <= len(axis.ticks) <= 12
        assert not zero or axis.low <= 0 <= axis.high

    @settings(deadline=None)
    @given(Numbers)
    def test_an_exact_axis_ends_at_its_values_with_ticks_inside(self, values):
        axis = exact_axis(min(values), max(values), count=6, scale=Scale.NUMBER)
        slack = (axis.high - axis.low) * 1e-6
        assert all(axis.low - slack <= place <= axis.high + slack for place, _ in axis.ticks)

    @pytest.mark.parametrize("days", [0.00001, 0.001, 0.1, 1, 10, 100, 1_000, 10_000, 100_000])
    def test_ticks_of_time_are_few_rising_and_all_different(self, days):
        start = datetime(2024, 2, 28, 23, 59, tzinfo=UTC).timestamp()
        ticks = time_ticks(start, start + days * 86_400, count=6)
        places = [place for place, _ in ticks]
        assert places == sorted(set(places))
        assert len(ticks) <= 10
        assert all(start <= place <= start + days * 86_400 for place in places)


class TestText:
    @settings(deadline=None)
    @given(st.text(max_size=40))
    def test_anything_can_stand_in_an_element_and_an_attribute(self, content):
        shown = parsed(element("text", escape(content), title=content)).find("text")
        kept = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "\ufffd", content)
        assert shown.get("title").split() == kept.split()

    @settings(deadline=None)
    @given(st.text(max_size=60), st.floats(10, 300))
    def test_shortened_text_fits(self, content, width):
        short = shortened(content, width)
        assert text_width(short) <= width or short == "…"

    @pytest.mark.parametrize(
        ("value", "format_", "shown"),
        [
            (None, None, "–"),
            (1234567, None, "1,234,567"),
            (0.000012345, None, "1.23e-05"),
            (12.5, None, "12.5"),
            (1e20, None, "1e+20"),
            (0.1234, ".1%", "12.3%"),
            (2048, "bytes", "2.0 KiB"),
            (0.0123, "duration", "12 ms"),
            (3_725, "duration", "1 h 2 min"),
            (1_500_000, "si", "1.5 M"),
            (Decimal("1.50"), ",.2f", "1.50"),
            (True, None, "true"),
            ("1.10", ",.3f", "1.10"),
            (math.nan, ",.2f", "nan"),
            (b"abc", None, "3 bytes"),
        ],
    )
    def test_values_are_shown_as_people_read_them(self, value, format_, shown):
        assert show(value, format_) == shown

    def test_a_format_that_is_none_is_told(self):
        with pytest.raises(ValueError, match="'nope' is no number format"):
            show(1, "nope")


class TestValues:
    def test_a_decimal_is_a_number(self):
        found = column(pa.table({"x": pa.array([Decimal("2"), Decimal("2.5"), None])}), "x")
        assert found.scale is Scale.NUMBER
        assert found.values == [2, 2.5, None]

    def test_times_without_an_offset_are_utc(self):
        found = column(pa.table({"x": pa.array([datetime(1970, 1, 2)], pa.timestamp("us"))}), "x")
        assert found.numbers() == [86_400.0]

    @pytest.mark.parametrize(
        ("value", "sent"),
        [
            (math.nan, None),
            (math.inf, None),
            (date(2025, 1, 2), "2025-01-02"),
            (b"\x00\xff", "00ff"),
            ({"a": [Decimal("1.5")]}, {"a": [1.5]}),
        ],
    )
    def test_json_holds_every_value(self, value, sent):
        assert as_json(value) == sent
