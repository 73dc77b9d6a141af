"""The version of the package, in one place: the installed distribution's."""

from importlib.metadata import version

VERSION = version("prefect-datagen")
