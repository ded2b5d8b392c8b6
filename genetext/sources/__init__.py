"""Where text on genes comes from: one module a source, and the registry that others add to.

A source says what it is called, whose it is and under which licence, which file it wants for a species, and how that
file reads as rows of (gene, section, text). Everything else follows from that: download, checks, cache, template,
`--help`, the table of the documentation, `genetext info` and the notice of licences.
"""

from genetext.sources.base import Licence, RemoteFile, TextRow, TextSource
from genetext.sources.registry import find, names, register

__all__ = ["Licence", "RemoteFile", "TextRow", "TextSource", "find", "names", "register"]
