"""How much a gzipped file may hold: a few kilobytes can unpack to more than any disk or memory has."""

import os
from dataclasses import dataclass, fields

from genetext.errors import FetchError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is read of a file before it counts as damaged or hostile; all in bytes, unpacked.

    Attributes
    ----------
    file
        Of a whole file. NCBI's largest, `gene_info.gz` of all species, has some 10 GB.
    line
        Of one line.
    gene
        Of all rows of one gene in one file.
    ratio
        How many times its packed size a file may unpack to, once it has passed 64 MiB. Tables pack 5 to 30 times.
    """

    file: int = 64 << 30
    line: int = 16 << 20
    gene: int = 16 << 20
    ratio: int = 200

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise FetchError(f"the limit {field.name} is {getattr(self, field.name)}: it has to be 1 or more")

    @classmethod
    def from_environment(cls) -> "Limits":
        """Take `$GENETEXT_MAX_FILE`, `_LINE`, `_GENE` and `_RATIO` where they are set.

        Raises
        ------
        FetchError
            A value is not a whole number of at least 1.
        """
        given = {field.name: os.environ.get(variable(field.name)) for field in fields(cls)}
        for name, value in given.items():
            if value and not (value.isascii() and value.isdecimal() and len(value) < 19):
                raise FetchError(f"{variable(name)} is {value!r}: it has to be a whole number of at least 1")
        return cls(**{name: int(value) for name, value in given.items() if value})


def variable(limit: str) -> str:
    """Return the environment variable that sets a limit."""
    return f"GENETEXT_MAX_{limit.upper()}"


def exceeded(limit: str, value: int) -> str:
    """Say how a limit can be raised, to follow what exceeded it."""
    unit = "times its packed size" if limit == "ratio" else "bytes"
    return f"more than {value:,} {unit}: if that is right, set {variable(limit)} higher"
