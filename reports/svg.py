"""A few lines of SVG: elements as text, everything that comes from data escaped, widths of words estimated."""

from __future__ import annotations

import re
import unicodedata
from html import escape as _escape_html

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff￾￿]")

_NARROW = set("fijlrtI.,:;'|!()[]{} -1")
_BROAD = set("mwMWQOGD%@")


def escape(text: object) -> str:
    """Text that can stand in an element or a quoted attribute of HTML and SVG."""
    return _escape_html(_NOT_XML.sub("�", str(text)), quote=True)


def element(tag: str, content: str | None = None, **attributes: object) -> str:
    """One element. `class_` stands for `class`; `_` in names for `-`; None leaves an attribute out.

    `content` is markup: escape text before. Numbers are written with one decimal.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return f"<{tag}{written}/>" if content is None else f"<{tag}{written}>{content}</{tag}>"


def text(
    content: str,
    x: float,
    y: float,
    *,
    class_: str | None = None,
    anchor: str | None = None,
    rotate: float | None = None,
) -> str:
    """A line of text with its baseline at `y`."""
    turn = None if rotate is None else f"rotate({rotate} {_number(x)} {_number(y)})"
    return element("text", escape(content), x=x, y=y, class_=class_, text_anchor=anchor, transform=turn)


def title(content: str) -> str:
    """What is shown when the pointer rests on the element around it."""
    return element("title", escape(content))


def text_width(content: str, *, size: float = 12.0) -> float:
    """About how wide a text is in pixels. There is no font at hand to measure with."""
    width = 0.0
    for character in content:
        if character in _NARROW:
            width += 0.37
        elif character in _BROAD:
            width += 0.95
        elif unicodedata.east_asian_width(character) in "WF":
            width += 1.0
        else:
            width += 0.7 if character.isupper() else 0.6
    return width * size


def shortened(content: str, width: float, *, size: float = 12.0) -> str:
    """The text, cut with an ellipsis where it is wider than `width` pixels."""
    content = " ".join(content.split())
    if text_width(content, size=size) <= width:
        return content
    while content and text_width(content + "…", size=size) > width:
        content = content[:-1]
    return content.rstrip() + "…"


def _number(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return value
