"""From a source of text to a layer over a snapshot: fetched or given, read, and matched to genes.

    provider's files ──download──┐
    files of the user ───────────┴─ read as rows ── names ──> genes ──> texts/<species>/<source>-<date>-<digest>

The digest in a layer's name is that of its input, so that input which was seen before is never read again.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genetext import disk, locks
from genetext.errors import FetchError, ResolveError, TextError, Unreachable, first_ten
from genetext.fetch import download
from genetext.fetch.dates import day
from genetext.fetch.download import File, Source
from genetext.fetch.limits import Limits, exceeded
from genetext.fetch.web import Patience
from genetext.names import snapshots
from genetext.names.options import NameOptions
from genetext.names.report import NO_GENE
from genetext.names.resolver import Resolver
from genetext.progress import Progress
from genetext.provenance import source_digest
from genetext.sources import registry
from genetext.sources.base import TextRow, TextSource
from genetext.sources.table import OwnTable
from genetext.species import HUMAN
from genetext.text import folders, repeats
from genetext.text.layer import FOLDER, FORMAT_VERSION, SCHEMA, TextLayer, list_layers
from genetext.text.sections import OF_THE_SNAPSHOT, ORTHOLOG, own_name
from genetext.text.snapshot import Snapshot
from genetext.text.template import Template

_log = logging.getLogger("genetext")

_CHUNK = 8192  # rows turned into Arrow at once
_OWN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_FEW = 0.05  # of the keys: where fewer are genes, something else is wrong than their names


@dataclass(frozen=True, kw_only=True)
class Request:
    """How layers are made.

    Attributes
    ----------
    offline
        Open no connection.
    root
        The cache root.
    progress
        Told the bytes of each file as they arrive.
    patience
        Timeouts and retries.
    limits
        How much a file may hold.
    """

    offline: bool = False
    root: Path = field(default_factory=disk.cache_dir)
    progress: Progress | None = None
    patience: Patience = field(default_factory=Patience)
    limits: Limits = field(default_factory=Limits.from_environment)


class Texts:
    """Which sources a template takes its sections from.

    Parameters
    ----------
    template
        Names the sections.
    given
        Files of the user, `FILE` or `FILE=name`: of the source of that name where there is one, else a table of text of
        that name (default: the file's). What the template does not name of them comes at the end of the texts. Or
        layers, which are taken as they are.

    Attributes
    ----------
    template
        With the sections of the files.

    Raises
    ------
    TextError
        A section is of no source.
    """

    def __init__(self, template: Template, given: Sequence[str | Path | TextLayer] = ()) -> None:
        self._files: dict[str, list[Path]] = {}
        self._layers = {(layer.name, layer.tax_id): layer for layer in given if isinstance(layer, TextLayer)}
        for text in given:
            if not isinstance(text, TextLayer):
                path, name = _named(text)
                self._files.setdefault(name, []).append(path)
        of_sections = {own_name(name)[0].partition(".")[0] for name in template.names} - set(OF_THE_SNAPSHOT)
        opened = {name for name, _ in self._layers}
        if unknown := sorted(of_sections - set(self._files) - opened - set(registry.names())):
            known = (
                *OF_THE_SNAPSHOT,
                *registry.names(),
                *(name for name in self._files if name not in registry.names()),
            )
            raise TextError(
                f"there is no section {first_ten(unknown)}; known are {', '.join(known)}, and a table of yours by "
                f"--text FILE=name"
            )
        rest = [name for name in self._files if name not in of_sections]
        self.template = replace(template, sections=(*template.sections, *rest)) if rest else template

    def gather(self, snapshot: Snapshot, request: Request | None = None) -> list[TextLayer]:
        """Bring the layers that the template needs onto this machine; arguments and errors as for `gather`."""
        request = request or Request()
        wanted = {(name.partition(".")[0], of_human) for name, of_human in map(own_name, self.template.names)}
        layers = []
        for name, of_human in sorted(pair for pair in wanted if pair[0] not in OF_THE_SNAPSHOT):
            if of_human and snapshot.species.tax_id == HUMAN.tax_id:
                continue  # it has no human ortholog
            tax_id = HUMAN.tax_id if of_human else snapshot.species.tax_id
            if (name, tax_id) in self._layers:
                layers.append(self._layers[name, tax_id])
                continue
            source = registry.find(name) if name in registry.names() else OwnTable(name)
            names_by = snapshots.default(HUMAN, root=request.root) if of_human else _with_all_names(snapshot, request)
            layers.append(gather(source, names_by, files=self._files.get(name, ()), request=request))
        return layers


def _with_all_names(snapshot: Snapshot, request: Request) -> Snapshot:
    """Return a snapshot of the whole species: by a few genes alone, a name that others share would seem theirs."""
    if snapshot.is_whole:
        return snapshot
    try:
        return snapshots.default(snapshot.species, root=request.root)
    except ResolveError:
        return snapshot


def _named(text: str | Path) -> tuple[Path, str]:
    """Read `FILE` or `FILE=name`."""
    path, equals, name = (str(text), "", "") if isinstance(text, Path) else text.rpartition("=")
    if not equals:
        path = str(text)
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(path).name.split(".")[0]).strip("_")
    if not _OWN_NAME.fullmatch(name):
        raise TextError(
            f"--text {text}: {name!r} cannot name a section: letters, digits, _ and - only, a letter first "
            f"(FILE=name gives it another)"
        )
    if name in OF_THE_SNAPSHOT or f"{name}." == ORTHOLOG:
        raise TextError(f"--text {text}: {name} is a section of its own: give the table another name (FILE=name)")
    return Path(path), name


def gather(
    source: TextSource, snapshot: Snapshot, *, files: Sequence[Path] = (), request: Request | None = None
) -> TextLayer:
    """Bring what a source says about the genes of a snapshot onto this machine, or find that the layer here is current.

    Parameters
    ----------
    source
        Whose text.
    snapshot
        Whose genes, and what names mean.
    files
        Files of the user that are read instead of the provider's.
    request
        From where and how. Default: `Request()`.

    Raises
    ------
    Unreachable
        The provider cannot be reached, and nothing of it was fetched before.
    FetchError
        A file is not what it should be, the source does not cover the species, or none of its keys is a gene; nothing
        of that becomes a layer.
    DiskError
        No room, or no permission to write.
    """
    request = request or Request()
    if files:
        given = [_given(path) for path in files]
        return _layer(source, snapshot, given, "a file of the user", request)
    if (shipped := source.shipped(snapshot.species)) is not None:
        return TextLayer.open(shipped)
    remote = source.files(snapshot.species)
    where = os.environ.get(f"GENETEXT_{source.name.upper()}_URL") or source.url
    if not where:
        raise FetchError(
            f"genetext has no text of the source {source.name} ({source.title}) for {snapshot.species.name}, and "
            f"fetches none: give its file with --text FILE={source.name}"
        )
    if not remote:
        raise FetchError(f"the source {source.name} ({source.title}) does not cover {snapshot.species.name}")
    place = Source.parse(where)
    try:
        fetched = _fetched(source, place, snapshot, request)
        return _layer(source, snapshot, fetched, place.where, request, is_download=place.folder is None)
    except Unreachable as error:
        listed = list_layers(source.name, species=snapshot.species.name, root=request.root)
        kept = [layer for layer in listed if layer.name == source.name]  # not of a table called source-something
        if not kept:
            raise Unreachable(
                f"{error}; give its file with --text FILE={source.name}, or leave the section {source.name} out"
            ) from error
        _log.warning(
            "%s cannot be reached (%s): using the text fetched before, %s", source.name, error, kept[0].path.name
        )
        return kept[0]


def _given(path: Path) -> File:
    path = disk.expanded(str(path))
    try:
        if not path.is_file():
            raise FetchError(f"{path} is no file: give a table or JSON of text")
    except OSError as error:
        raise FetchError(f"{path} cannot be read: {error.strerror or error}") from error
    return File.here(path, path.name)


def _fetched(source: TextSource, place: Source, snapshot: Snapshot, request: Request) -> list[File]:
    files = []
    for remote in source.files(snapshot.species):
        if request.offline or place.folder is not None:
            file = download.cached_file(place, remote.name, root=request.root)
        else:
            file = download.fetch_file(
                place,
                remote.name,
                address=remote.address,
                shape=remote.shape,
                root=request.root,
                patience=request.patience,
                progress=request.progress,
                limits=request.limits,
            )
        if file is None and request.offline:
            raise Unreachable(f"offline, and {remote.name} of {source.title} was not fetched before")
        if file is None:
            raise FetchError(f"{place.where} has no {remote.address or remote.name}: {source.title} may have moved it")
        files.append(file)
    return files


def _layer(
    source: TextSource,
    snapshot: Snapshot,
    files: Sequence[File],
    where: str,
    request: Request,
    *,
    is_download: bool = False,
) -> TextLayer:
    """Return the layer of these files, downloads or files of the user's: the one in the cache, or a new one."""
    species = snapshot.species
    key = [
        _code(source),
        FORMAT_VERSION,
        source.identity,
        species.tax_id,
        snapshot.manifest.files["genes.parquet"]["sha256"],
        [file.sha256 for file in files],
    ]
    digest = disk.sha256_json(key)[:12]
    folder = request.root / FOLDER / species.name
    with locks.lock(f"text-{species.name}-{source.name}", root=request.root):
        paths = folder.glob(f"{source.name}-*{digest}")
        if (kept := folders.kept(paths, TextLayer.open, what="text")) is not None:
            return kept
        try:
            rows, content = _read(source, snapshot, [file.path for file in files], request)
        except FetchError:
            for file in files if is_download else ():  # else the server would go on answering "not modified"
                download.forget_validators(file)
            raise
        recorded = {
            file.name: {name: getattr(file, name) for name in ("sha256", "size", "last_modified")} for file in files
        }
        date = max((day(file.last_modified) for file in files), default="")
        content["source"] |= {"where": where, "files": recorded, "date": date}
        name = "-".join(filter(None, (source.name, date, digest)))
        return TextLayer.write(folder / name, rows=rows, content=content)


def _code(source: TextSource) -> str:
    """Return a digest of the code that makes a layer; that of a source in a notebook cannot be told apart by it."""
    ours = ("genetext.layers", "genetext.sources", "genetext.text")
    try:
        return source_digest(*ours, type(source).__module__)
    except ModuleNotFoundError:
        return source_digest(*ours)


def _read(
    source: TextSource, snapshot: Snapshot, paths: Sequence[Path], request: Request
) -> tuple[pa.Table, dict[str, Any]]:
    """Read the rows of files, match them to genes, and return the layer's table and what its manifest says."""
    shown, species = first_ten([str(path) for path in paths]), snapshot.species
    raw = _arrow(source, source.rows(paths, species, request.limits))
    if not raw.num_rows:
        raise FetchError(f"{shown} says nothing of the genes of {species.name}")
    resolver, options = Resolver(snapshot, root=request.root), NameOptions(root=request.root)
    keys: list[list[str]] = raw["keys"].to_pylist()
    report = resolver.report(list(dict.fromkeys(key for several in keys for key in several)), options)
    gene_of = {name: int(gene) for name, gene in zip(report.names, report.gene_id, strict=True) if gene != NO_GENE}
    genes = np.array([next((gene_of[key] for key in several if key in gene_of), NO_GENE) for several in keys], np.int64)
    lost = list(dict.fromkeys(several[0] for several, gene in zip(keys, genes, strict=True) if gene == NO_GENE))
    if (genes != NO_GENE).sum() < _FEW * len(genes):
        advice = ""
        texts = raw["text"].slice(0, 1000).to_pylist()
        if resolver.report(texts, options).matched > report.matched + _FEW:
            advice = "; what stands as text are names of genes: the two columns look swapped"
        raise FetchError(
            f"{shown}: only {(genes != NO_GENE).sum():,} of {len(genes):,} rows are of a gene of {species.name}, as "
            f"its names are known here. {report}{advice}"
        )
    rows, n_repeated = _placed(raw.append_column("gene_id", pa.array(genes)), source, request.limits, shown)
    reasons = dict(zip(report.names, np.where(report.reason == "", report.status, report.reason), strict=True))
    counts = {
        "rows": raw.num_rows,
        "rows_unmatched": int((genes == NO_GENE).sum()),
        "rows_repeated": n_repeated,
        "genes": len(pc.unique(rows["gene_id"])),
        "by_section": dict(sorted(Counter(rows["section"].to_pylist()).items())),
    }
    return rows, {
        "species": {"tax_id": species.tax_id, "name": species.name, "latin": species.latin},
        "source": source.to_json(),
        "names": snapshot.digest,
        "counts": counts,
        "unmatched": {
            "names": len(lost),
            "first": lost[:10],
            "reasons": dict(Counter(str(reasons[name]) for name in lost).most_common()),
        },
    }


_RAW = pa.schema(
    [("keys", pa.list_(pa.string())), *(field for field in SCHEMA if field.name not in {"gene_id", "place"})]
)


def _arrow(source: TextSource, rows: Iterable[TextRow]) -> pa.Table:
    """Collect rows, in chunks, so that Python objects never pile up."""
    batches, stream = [], iter(rows)
    while chunk := list(islice(stream, _CHUNK)):
        if unknown := {row.section for row in chunk} - set(source.sections):
            raise ValueError(
                f"the source {source.name} yields rows of sections that it does not name: {first_ten(sorted(unknown))}"
            )
        columns = (
            [[str(key) for key in row.keys] for row in chunk],
            [row.section for row in chunk],
            [" ".join(row.text.split()) for row in chunk],
            [list(row.references) for row in chunk],
            [row.date for row in chunk],
        )
        arrays = [pa.array(values, kind) for values, kind in zip(columns, _RAW.types, strict=True)]
        batches.append(pa.RecordBatch.from_arrays(arrays, schema=_RAW))
    table = pa.Table.from_batches(batches, schema=_RAW)
    return table.filter(pc.field("text") != "")


def _placed(table: pa.Table, source: TextSource, limits: Limits, shown: str) -> tuple[pa.Table, int]:
    """Return the rows of genes without those that repeat, numbered by gene and section, and how many repeat."""
    columns = (table[name].to_pylist() for name in ("gene_id", "section", "text", "date"))
    of_gene: dict[tuple[int, str], list[tuple[str, str, int]]] = {}
    sizes: Counter[int] = Counter()
    for row, (gene, section, text, date) in enumerate(zip(*columns, strict=True)):
        if gene != NO_GENE:
            of_gene.setdefault((gene, section), []).append((date, text, row))
            sizes[gene] += len(text)
            if sizes[gene] > limits.gene:
                raise FetchError(f"{shown}: the texts of GeneID {gene} have {exceeded('gene', limits.gene)}")
    kept: list[int] = []
    places: list[int] = []
    for several in of_gene.values():
        chosen = repeats.without(several, near=source.drop_near_duplicates)
        kept += chosen
        places += range(len(chosen))
    rows = table.take(pa.array(kept, pa.int64())).append_column("place", pa.array(places, pa.int32()))
    return rows, sum(map(len, of_gene.values())) - len(kept)
