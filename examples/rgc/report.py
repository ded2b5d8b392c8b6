"""A report as one HTML file: figures inside, nothing loaded from anywhere, readable without this project at hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from genetext import disk
from genetext.escape import printable

from . import figures

TEMPLATE = Path(__file__).with_name("report.html.j2")
NOTICE = (
    "No cell of this report was ever measured. The names, shares and marker genes of the 45 types are published facts; "
    "everything else was drawn at random, without any text about genes. What is found here shows how the example works "
    "and says nothing about retinal ganglion cells, nor about what text is worth on measured ones."
)


@dataclass
class Section:
    """A chapter: paragraphs, lists, tables and figures in the order in which they were added."""

    title: str
    blocks: list[dict[str, Any]] = field(default_factory=list)

    def text(self, *paragraphs: str) -> "Section":
        """Add paragraphs."""
        self.blocks += [{"kind": "text", "text": paragraph} for paragraph in paragraphs]
        return self

    def plain(self, text: str) -> "Section":
        """Add text whose line breaks count."""
        self.blocks.append({"kind": "plain", "text": text})
        return self

    def lines(self, lines: Sequence[str]) -> "Section":
        """Add a list of sentences."""
        self.blocks.append({"kind": "list", "lines": [*lines]})
        return self

    def figure(self, figure: Figure, caption: str) -> "Section":
        """Add a figure; its bytes become part of the file."""
        self.blocks.append({"kind": "figure", "uri": figures.data_uri(figure), "caption": caption})
        return self

    def table(self, frame: pd.DataFrame, caption: str, *, digits: int = 3) -> "Section":
        """Add a table; numbers are rounded to `digits` and stand on the right."""
        numbers = [pd.api.types.is_numeric_dtype(frame[name]) for name in frame]
        rows = [[_shown(value, digits) for value in row] for row in frame.itertuples(index=False)]
        self.blocks.append(
            {"kind": "table", "caption": caption, "columns": list(zip(frame, numbers, strict=True)), "rows": rows}
        )
        return self


def render(
    sections: Sequence[Section],
    *,
    title: str,
    subtitle: str,
    summary: Sequence[str] = (),
    simulated: bool = False,
    footer: str = "",
) -> str:
    """Return the report as HTML.

    Parameters
    ----------
    sections
        The chapters.
    title, subtitle
        What the data are, and in a sentence what was done.
    summary
        Sentences for who reads nothing else.
    simulated
        Whether to say at the top that no cell was measured.
    footer
        How to make the report again.
    """
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        sections=sections,
        title=title,
        subtitle=subtitle,
        summary=list(summary),
        notice=NOTICE if simulated else "",
        footer=footer,
    )


def write(path: Path, html: str) -> None:
    """Write the report, whole or not at all."""
    with disk.atomic_file(path) as handle:
        handle.write(printable(html).encode())


def text_kinds(index_genes: pd.DataFrame, gene_ids: Sequence[int]) -> pd.DataFrame:
    """Count what kind of text the genes of the data have: `text`, `genes`, `share`.

    Parameters
    ----------
    index_genes
        `GeneIndex.genes`.
    gene_ids
        Of the genes of the data that have a vector.
    """
    source = (
        index_genes.drop_duplicates("gene_id").set_index("gene_id")["source"].reindex(list(gene_ids)).fillna("none")
    )
    kinds = source.map(_kind).value_counts()
    frame = pd.DataFrame({"text": kinds.index, "genes": kinds.to_numpy()})
    return frame.assign(share=frame["genes"] / max(len(source), 1))


def _kind(source: str) -> str:
    """Say in words what a text was made of."""
    kinds = {
        "facts": "facts about the mouse gene (name, Gene Ontology terms)",
        "ortholog-facts": "facts about the human ortholog (Gene Ontology terms)",
        "name": "the full name alone",
        "none": "nothing",
    }
    if source in kinds:
        return kinds[source]
    return "summary of the human ortholog" if source.startswith("ortholog:") else "summary of the mouse gene"


def _shown(value: Any, digits: int) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "-"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        return f"{value:.{digits}f}" if value == 0 or abs(value) >= 10**-digits else f"{value:.1e}"
    return str(value)
