"""HuBMAP ASCT+B: of which types of human cells a gene is a marker, as it ships with genetext."""

import importlib.resources
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from genetext.fetch.limits import Limits
from genetext.sources.base import CC_BY, TextRow, TextSource
from genetext.sources.markers import sentences
from genetext.species import HUMAN, Species

_TITLE = re.compile(r"[A-Z][a-z]+(?:-[A-Za-z]?[a-z]+)*")  # not CD14, T, GABAergic


class Asctb(TextSource):
    """The tables of anatomical structures, types of cells and biomarkers of the Human Reference Atlas."""

    name = "asctb"
    title = "HuBMAP ASCT+B tables (Human Reference Atlas)"
    licence = CC_BY
    citation = (
        "Borner et al., Anatomical structures, cell types and biomarkers of the Human Reference Atlas. Nature Cell "
        "Biology 2021"
    )
    sections = {"types": "types of human cells that the gene is a marker of"}  # noqa: RUF012

    @property
    def place(self) -> str:
        """Where its text comes from, in a few words."""
        return "genetext itself"

    def shipped(self, species: Species) -> Path | None:
        """Return the layer that is installed with genetext, for human."""
        folder = importlib.resources.files("genetext").joinpath("data", "texts", self.name)
        return folder if species.tax_id == HUMAN.tax_id and isinstance(folder, Path) and folder.is_dir() else None

    def rows(self, paths: Sequence[Path], species: Species, limits: Limits) -> Iterator[TextRow]:
        """Yield one sentence a gene, of tables that are newer than those that ship."""
        yield from sentences(paths, species, limits, section="types", readable=readable)


def readable(name: str) -> str:
    """Return the name of a type of cell without codes of clusters, in small letters where it is written as a title."""
    words = name.removesuffix(", human").replace("(Hsap)", "").split()
    if words and "_" in words[0]:  # ULIT_3 Upper-layer ...
        words = words[1:]
    elif "cortex" in words and words[0] in {"Exc", "Inh"}:  # Exc L5 FEZF2 CSN1S1 primary motor cortex ...
        words = words[max(words.index("cortex") - 2, 0) :]
    return " ".join(word.lower() if _TITLE.fullmatch(word) else word for word in words)
