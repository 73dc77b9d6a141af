"""Plug-ins: classes that other packages add to the vocabulary, by entry points of one group.

A package declares, in the group `prefect_datagen.plugins`, entry points named `<family>.<name>`, where the family is
`columns`, `seeds`, `processors` or `sinks`, each pointing to a class derived from that family's base:

    [project.entry-points."prefect_datagen.plugins"]
    "seeds.markdown" = "my_package.seeds:MarkdownSections"

The class names its own discriminator (`seed_type: Literal["markdown"] = "markdown"`). A plug-in imports the base from
the module that defines it (`prefect_datagen.seeds.base`, `prefect_datagen.processors.base`,
`prefect_datagen.columns.base`), not from the module with the union, which is what loads the plug-in.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from prefect_datagen.engine.errors import ConfigError

GROUP = "prefect_datagen.plugins"

_Base = TypeVar("_Base")


def plugin_types(family: str, base: type[_Base]) -> tuple[type[_Base], ...]:
    """Classes that plug-ins add to a family, sorted by the names of their entry points.

    Raises:
        ConfigError: a plug-in cannot be imported, or is not a subclass of `base`. Names the package.
    """
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return tuple(_load(point, base) for point in points if point.name.startswith(f"{family}."))


def _load(point: EntryPoint, base: type[_Base]) -> type[_Base]:
    package = point.dist.name if point.dist is not None else "an unknown package"
    try:
        found = point.load()
    except Exception as error:
        raise ConfigError(
            f"plug-in {point.name!r} of {package} cannot be loaded from {point.value!r}: "
            f"{type(error).__name__}: {error}; mend or uninstall it"
        ) from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigError(f"plug-in {point.name!r} of {package}: {point.value!r} is not a subclass of {base.__name__}")
    return found
