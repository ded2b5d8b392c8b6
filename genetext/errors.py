"""Every error genetext raises on purpose.

    GenetextError
      ├─ SpeciesError          a species name that means nothing here, or more than one thing
      ├─ FetchError            NCBI (or a mirror, or a folder) did not give what it should
      │    └─ Unreachable      ... because it could not be reached at all
      ├─ SnapshotError         a snapshot of gene text that is absent, damaged or of another version
      ├─ TextError             sections, rankings or templates that cannot be composed
      ├─ EncoderError          an encoder that cannot be loaded or fed
      │    ├─ NoDirection      ... because it knows no word of a query
      │    ├─ MissingWeights   ... because its weights are not on this machine
      │    └─ CostLimit        ... because the paid call would cost more than allowed
      ├─ StoreError            the vector store cannot be read or written
      ├─ GeneIndexError        a gene index that is absent or damaged
      │    └─ IndexMismatch    ... or was built with something else than what is asked of it
      ├─ ResolveError          gene names that cannot be resolved as asked
      │    └─ TooFewMatched    ... because fewer matched than `min_match` allows
      ├─ PriorsError           priors that cannot be aligned or used as asked
      ├─ CellsError            an expression matrix that cannot be embedded as asked
      ├─ ModelError            a model of cells that cannot be fitted, saved, loaded or applied as asked
      │    └─ GenesMissing     ... because the data lack genes that the model was fitted on
      ├─ BenchError            tasks or methods that cannot be compared as asked
      └─ DiskError             no room, no permission, a lock held by somebody else
           └─ DamagedFile      ... or a file that genetext wrote cannot be read any more

A message says what happened, to which (the first ten and a count), and what to do next. The command line prints
the message alone and exits with 1; `--debug` adds the traceback.
"""

from collections.abc import Sequence

from genetext.escape import printable


class GenetextError(Exception):
    """Base of all errors that genetext raises on purpose."""


class SpeciesError(GenetextError, ValueError):
    """A species name that is unknown or ambiguous."""


class FetchError(GenetextError):
    """A source of gene text did not give what it should; says which file and what was found."""


class Unreachable(FetchError):
    """A source of gene text could not be reached at all (no route, refused, timed out, name not resolved)."""


class SnapshotError(GenetextError):
    """A snapshot is absent, damaged, or of a format version that this genetext does not read."""


class TextError(GenetextError, ValueError):
    """Sections, rankings or templates that cannot be composed into texts."""


class EncoderError(GenetextError):
    """An encoder cannot be found, loaded, or fed the texts at hand."""


class NoDirection(EncoderError):
    """An encoder knows no word of a query, so that there is no direction to search in."""


class MissingWeights(EncoderError):
    """The weights of an encoder are not on this machine; the message says how to get them."""


class CostLimit(EncoderError):
    """A paid encoding would cost more than the caller allowed, or was not confirmed."""


class StoreError(GenetextError):
    """The vector store cannot be read or written."""


class GeneIndexError(GenetextError):
    """A gene index is absent, damaged, or of a format version that this genetext does not read."""


class IndexMismatch(GeneIndexError):
    """An index was built with something else than what is asked of it; the message holds both values."""


class ResolveError(GenetextError, ValueError):
    """Gene names cannot be resolved as asked."""


class TooFewMatched(ResolveError):
    """Fewer names matched than `min_match` allows; the message holds the report, `report` the object."""

    def __init__(self, message: str, *, report: object = None) -> None:
        super().__init__(message)
        self.report = report


class PriorsError(GenetextError, ValueError):
    """Priors cannot be aligned or used as asked."""


class CellsError(GenetextError, ValueError):
    """An expression matrix cannot be embedded as asked."""


class ModelError(GenetextError, ValueError):
    """A model of cells cannot be fitted, saved, loaded or applied as asked."""


class GenesMissing(ModelError):
    """Data lack genes that a model was fitted on; `report` is the `cellmodels.data.genes.Coverage`."""

    def __init__(self, message: str, *, report: object = None) -> None:
        super().__init__(message)
        self.report = report


class BenchError(GenetextError, ValueError):
    """Tasks cannot be read, or methods not compared on them, as asked."""


class DiskError(GenetextError):
    """No room, no permission, or a lock held by somebody else."""


class DamagedFile(DiskError):
    """A file that genetext wrote cannot be read any more; whoever reads it decides whether work goes on without."""


def first_ten(items: Sequence[object]) -> str:
    """Name the first ten of `items` and count the rest, for messages: `a, b, c and 12 more`."""
    shown = ", ".join(printable(str(item), keep="") for item in items[:10])
    return shown if len(items) <= 10 else f"{shown} and {len(items) - 10:,} more"
