"""A table of one's own: text on genes that a curator, a program or a language model wrote."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from genetext.errors import FetchError
from genetext.fetch.integrity import BadContent, unpacked
from genetext.fetch.limits import Limits
from genetext.sources import tabular
from genetext.sources.base import UNKNOWN, TextRow, TextSource
from genetext.species import Species

_KEYS = (
    *("gene", "genes", "symbol", "gene_symbol", "gene_name", "gene_id", "ensembl_id", "ensembl_gene_id", "ensembl"),
    *("ncbi_gene_id", "entrez_id", "entrez", "hgnc_symbol", "mgi_symbol", "feature_name", "name", "id", "key"),
)
_TEXTS = ("text", "summary", "description", "sentence", "function", "annotation", "note")
_DATE = re.compile(r"\d{4}(?:-\d{2}(?:-\d{2})?)?")
_MORE = {"date": ("date", "year", "updated"), "references": ("references", "reference", "pmid", "pmids")}


class OwnTable(TextSource):
    """Text of the user: TSV, CSV, Parquet, or JSON of one text (or a list of texts) by gene.

    Parameters
    ----------
    name
        How its section is called.
    """

    title = "a table of the user"
    licence = UNKNOWN
    citation = "the user's own"
    sections = {"text": "what the table says"}  # noqa: RUF012

    def __init__(self, name: str) -> None:
        self.name = name  # type: ignore[misc]

    def rows(self, paths: Sequence[Path], species: Species, limits: Limits) -> Iterator[TextRow]:
        """Yield the rows of the files; keys are names of any kind."""
        del species
        for path in paths:
            for key, text, references, date in _rows(path, limits):
                if date and not _DATE.fullmatch(date):
                    raise FetchError(f"{path}: the date of {key!r} is {date!r}: write 2024, 2024-03 or 2024-03-31")
                if key and text:
                    yield TextRow((key,), "text", text, references, date)


def _rows(path: Path, limits: Limits) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    kind = path.name.lower().removesuffix(".gz").removesuffix(".zip").rpartition(".")[2]
    if kind == "json":
        yield from _of_json(path, limits)
    elif kind in {"parquet", "pq"}:
        yield from _of_parquet(path)
    else:
        yield from _of_table(path, limits)


def _of_table(path: Path, limits: Limits) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    columns = {"key": _KEYS, "text": _TEXTS, **_MORE}
    for _, row in tabular.records(
        path,
        columns,
        limits,
        optional=tuple(_MORE),
        quoted=True,
        separator=None,
        provider="text by gene (a source's own file is given as FILE=hpa, FILE=uniprot ...)",
    ):
        yield row["key"], row["text"], tuple(row["references"].replace(";", ",").replace(",", " ").split()), row["date"]


def _of_json(path: Path, limits: Limits) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Read `{"TP53": "..."}`, `{"TP53": ["...", "..."]}`, or a list of objects with a gene and a text."""
    try:
        value = json.loads(b"".join(unpacked(path, limits)).decode("utf-8-sig"))
    except BadContent as error:
        raise FetchError(f"{path} is {error}") from None
    except (ValueError, RecursionError) as error:
        raise FetchError(f"{path} is no JSON that can be read: {error}") from None
    except OSError as error:
        raise FetchError(f"{path} cannot be read: {error.strerror or error}") from error
    if isinstance(value, dict):
        for key, given in value.items():
            for text in given if isinstance(given, list) else [given]:
                if text is not None and not isinstance(text, str):
                    raise FetchError(
                        f"{path}: the text of {key!r} is {str(text)[:80]!r}: a text or a list of texts is due"
                    )
                yield key.strip(), text or "", (), ""
    elif isinstance(value, list) and all(isinstance(row, dict) for row in value):
        yield from _of_objects(path, value)
    else:
        raise FetchError(
            f'{path} is no JSON of text by gene: write {{"TP53": "..."}} or [{{"gene": "TP53", "text": "..."}}]'
        )


def _of_parquet(path: Path) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise FetchError(f"{path} is no Parquet that can be read: {error}") from error
    for batch in table.to_batches(max_chunksize=8192):
        yield from _of_objects(path, batch.to_pylist())


def _of_objects(path: Path, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    for row in rows:
        fields = {str(name).lower(): value for name, value in row.items()}
        key, text = (
            next((fields[name] for name in names if fields.get(name) is not None), None) for names in (_KEYS, _TEXTS)
        )
        if key is None and text is None:
            raise FetchError(
                f"{path}: a row of {', '.join(map(repr, row))[:160]}: columns gene and text are due (or "
                f"{', '.join(_KEYS[1:5])}; {', '.join(_TEXTS[1:4])})"
            )
        references = next((fields[name] for name in _MORE["references"] if fields.get(name)), ())
        listed = (
            references
            if isinstance(references, list)
            else str(references).replace(",", " ").split()
            if references
            else []
        )
        date = next((str(fields[name])[:10] for name in _MORE["date"] if fields.get(name)), "")
        yield str(key or "").strip(), str(text or ""), tuple(map(str, listed)), date
