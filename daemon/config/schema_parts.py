"""What the tables of the configuration share: their base, and paths."""

from pathlib import Path
from typing import Annotated

from . import validators
from .schema_base import ConfigTable

AbsolutePath = Annotated[Path, validators.absolute_path]
OptionalPath = Annotated[str, validators.absolute_path_or_none]


class Section(ConfigTable):
    """Base of every table: unknown keys are mistakes and nothing changes after it is read."""
