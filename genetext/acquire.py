"""From a species' name to a snapshot of what is written about its genes.

    NCBI, a mirror, a folder ──download──> files ──parse──> tables ──> snapshots/<species>/ncbi-<date>-<digest>
    E-utilities, for a handful of genes ───────────────────> tables ──> snapshots/<species>/eutils-genes-<digest>
    nothing reachable ──> what NCBI gave last, else the facts that the package carries

The digest in a snapshot's name is that of its input, so that input which was seen before is never parsed again. A
snapshot is used again only where all its bytes are what its manifest says.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

import genetext
from genetext import disk, manifest
from genetext import species as known_species
from genetext.errors import FetchError, SnapshotError, SpeciesError, Unreachable, first_ten
from genetext.fetch import download, entrez, web
from genetext.fetch.download import NCBI, File, Source
from genetext.fetch.eutils import EUTILS, Eutils
from genetext.fetch.web import Patience
from genetext.progress import Progress
from genetext.species import HUMAN, Species
from genetext.text import parse
from genetext.text.snapshot import FORMAT_VERSION, SCHEMAS, Snapshot, list_snapshots
from genetext.text.subset import find_genes, keep_genes

_log = logging.getLogger("genetext")

# Besides gene_info: where NCBI keeps each file, and what is lost without it (None: nothing works without it).
_FILES: Mapping[str, tuple[str, str | None]] = {
    "gene_summary": ("gene_summary.gz", None),
    "gene_orthologs": ("gene_orthologs.gz", "no human orthologs"),
    "gene2go": ("gene2go.gz", "no Gene Ontology terms"),
    "gene_history": ("gene_history.gz", "retired GeneIDs and former symbols are not known"),
    "gene2ensembl": ("gene2ensembl.gz", "Ensembl ids are those of gene_info only"),
}


def fetch(
    species: str | int | Species,
    *,
    source: str | Path = "auto",
    genes: Sequence[str] | None = None,
    offline: bool = False,
    root: Path | None = None,
    progress: Progress | None = None,
    snapshot: str | Path | Snapshot | None = None,
    patience: Patience | None = None,
    ncbi_url: str | None = None,
    eutils_url: str | None = None,
) -> Snapshot:
    """Fetch what is written about the genes of a species, and keep it as a snapshot.

    Parameters
    ----------
    species
        Common name, Latin name or taxonomy id. A name that genetext does not know is looked up in NCBI's taxonomy.
    source
        `auto`: NCBI; where it cannot be reached, what it gave last, else the bundled facts, with a warning. What a
        folder or another mirror gave does not count as NCBI's.
        `ncbi`: NCBI or an error. `facts`: the bundled facts. Else the URL of a mirror, or a folder with NCBI's layout.
    genes
        Only these genes (symbols, synonyms, GeneIDs, Ensembl ids): from NCBI through E-utilities, from another
        source out of all its genes. Names that are not found are reported in one warning.
    offline
        Open no connection: use what was fetched before, or under `auto` the bundled facts.
    root
        The cache root. Default: `disk.cache_dir()`.
    progress
        Told the bytes of each file as they arrive.
    snapshot
        Fetch nothing and open this one: a folder, or the beginning of a digest of a snapshot in the cache.
    patience
        Timeouts and retries.
    ncbi_url, eutils_url
        What stands for NCBI. Default: `$GENETEXT_NCBI_URL` and `$GENETEXT_EUTILS_URL`, else NCBI's own.

    Raises
    ------
    SpeciesError
        The species is not known.
    Unreachable, FetchError
        The source cannot be reached, or did not give what it should; nothing of that enters a snapshot.
    SnapshotError
        The snapshot asked for does not exist, or the facts do not cover the species.
    DiskError
        No room, or no permission to write.
    """
    root = root or disk.cache_dir()
    patience = patience or Patience()
    eutils = Eutils(
        url=_base(eutils_url or os.environ.get("GENETEXT_EUTILS_URL") or EUTILS), patience=patience, root=root
    )
    ask = eutils if not offline and source in {"auto", "ncbi"} else None
    if isinstance(snapshot, Snapshot):
        return snapshot
    found = find_species(species, eutils=ask, root=root)
    if snapshot is not None:
        return _open(snapshot, found, root)
    if source == "facts":
        return _few(_facts(found, root), genes, root)
    is_ncbi = source in {"auto", "ncbi"}
    where = Source.parse((ncbi_url or os.environ.get("GENETEXT_NCBI_URL") or NCBI) if is_ncbi else source)
    if offline:
        return _offline(found, str(source), where, genes, root)
    try:
        if genes is not None and is_ncbi:
            return _from_eutils(found, genes, eutils, root, progress)
        return _few(_from_files(found, where, root, patience, progress), genes, root)
    except Unreachable as error:
        if source == "auto":
            return _instead(found, where, error, genes, root)
        hint = "use --source auto, which falls back on what is on this machine" if is_ncbi else "check the address"
        raise Unreachable(f"{error}; try again later, or {hint}") from error


def find_species(name: str | int | Species, *, eutils: Eutils | None = None, root: Path | None = None) -> Species:
    """Find a species in the built-in table, among the snapshots in the cache, and last in NCBI's taxonomy.

    Parameters
    ----------
    name
        As for `species.find`.
    eutils
        Where to ask the taxonomy; None: nowhere.
    root
        The cache root.

    Raises
    ------
    SpeciesError
        Nobody knows the name; the message suggests near ones.
    """
    try:
        return known_species.find(name)
    except SpeciesError as error:
        plain = known_species.plain(str(name))
        for kept in list_snapshots(root=root):
            candidate = kept.species
            if plain in {known_species.plain(candidate.name), known_species.plain(candidate.latin)}:
                return candidate
        if eutils is None:
            raise
        try:
            found = entrez.find_species(str(name), eutils=eutils)
        except Unreachable:
            raise error from None
        except SpeciesError as unknown:
            raise SpeciesError(f"{error} ({unknown})") from None
        # NCBI may know as a synonym what genetext knows under another name.
        return next((item for item in known_species.KNOWN if item.tax_id == found.tax_id), found)


def _from_files(
    species: Species, source: Source, root: Path, patience: Patience, progress: Progress | None
) -> Snapshot:
    """Download (or find) the files, and parse them unless that was done before."""
    if source.folder is not None:
        return _snapshot(
            species, source, _collect(species, source, lambda name: download.cached_file(source, name)), root
        )
    with disk.lock(f"download-{source.id}", root=root), web.client(patience) as client:
        files = _collect(
            species,
            source,
            lambda name: download.fetch_file(
                source, name, client=client, root=root, patience=patience, progress=progress
            ),
        )
        return _snapshot(species, source, files, root)


def _collect(species: Species, source: Source, get: Callable[[str], File | None]) -> dict[str, File]:
    """Get each file by its logical name; `get` returns None for a file that the source lacks."""
    files: dict[str, File] = {}
    for name in species.gene_info:
        if (file := get(name)) is not None:
            files["gene_info"] = file
            break
    else:
        raise FetchError(
            f"{source.where} has no gene_info of {species.latin}: looked for {', '.join(species.gene_info)}"
        )
    for logical, (name, loss) in _FILES.items():
        if logical == "gene_orthologs" and species.tax_id == HUMAN.tax_id:
            continue
        if (file := get(name)) is not None:
            files[logical] = file
        elif loss is None:
            raise FetchError(f"{source.where} has no {name}, and without it there is no text")
        else:
            _log.info("%s has no %s: %s", source.where, name, loss)
    if species.tax_id != HUMAN.tax_id and "gene_orthologs" in files:
        # Of human only the orthologs' names are wanted: not worth the file of all species, unless it is here anyway.
        file = get(HUMAN.gene_info[0])
        if file is None and files["gene_info"].name == HUMAN.gene_info[-1]:
            file = files["gene_info"]
        if file is not None:
            files["human_gene_info"] = file
        else:
            _log.info("%s has no %s: human orthologs have no names", source.where, HUMAN.gene_info[0])
    return files


def _snapshot(species: Species, source: Source, files: Mapping[str, File], root: Path) -> Snapshot:
    """Return the snapshot of these files: the one in the cache, or a new one."""
    digest = _input_digest(species, {name: file.sha256 for name, file in files.items()})
    date = max((_date(file.last_modified) for file in files.values()), default="")
    with disk.lock(f"snapshot-{species.name}", root=root):
        if (kept := _kept(species, "ncbi", digest, root)) is not None:
            return kept
        try:
            tables = parse.assemble({name: file.path for name, file in files.items()}, species)
        except FetchError:
            # Else the server would go on answering "not modified", and the same bytes would fail for ever.
            if source.folder is None:
                for file in files.values():
                    download.forget_validators(file)
            raise
        return _write(
            species,
            tables,
            {
                "kind": "ncbi",
                "where": source.where,
                "files": {
                    name: {
                        "name": file.name,
                        "sha256": file.sha256,
                        "size": file.size,
                        "last_modified": file.last_modified,
                    }
                    for name, file in sorted(files.items())
                },
            },
            "-".join(filter(None, ("ncbi", date, digest))),
            root,
        )


def _from_eutils(
    species: Species, genes: Sequence[str], eutils: Eutils, root: Path, progress: Progress | None
) -> Snapshot:
    found = entrez.fetch_genes(genes, species, eutils=eutils, progress=progress)
    source = {
        "kind": "eutils",
        "where": eutils.where,
        "files": {},
        "genes": sorted(set(genes)),
        "not_found": dict(found.not_found),
    }
    return _write_few(species, parse.tables_of(found), source, root)


def _few(whole: Snapshot, genes: Sequence[str] | None, root: Path) -> Snapshot:
    """Return a snapshot of some genes of a whole species' snapshot; the snapshot itself where `genes` is None."""
    if genes is None:
        return whole
    tables = {name: whole.table(name) for name in SCHEMAS}
    found, not_found = find_genes(tables["genes"], genes)
    told = [f"{name} ({reason})" for name, reason in not_found.items()]
    if not found:
        raise FetchError(f"{whole.path} has none of the {len(genes):,} genes asked for: {first_ten(told)}")
    if told:
        _log.warning("%d of %d genes not found: %s", len(told), len(genes), first_ten(told))
    source = {**whole.manifest["source"], "genes": sorted(set(genes)), "not_found": not_found, "of": whole.digest}
    return _write_few(whole.species, keep_genes(tables, list(found.values())), source, root)


def _write_few(species: Species, tables: Mapping[str, pa.Table], source: dict[str, Any], root: Path) -> Snapshot:
    # Some genes' tables are small: their content tells whether they are here already.
    rows = {name: table.to_pylist() for name, table in tables.items()}
    digest = disk.sha256_json([FORMAT_VERSION, species.tax_id, source, rows])[:12]
    kind = source["kind"]
    with disk.lock(f"snapshot-{species.name}", root=root):
        kept = _kept(species, kind, f"genes-{digest}", root)
        return kept if kept is not None else _write(species, tables, source, f"{kind}-genes-{digest}", root)


def _write(species: Species, tables: Mapping[str, pa.Table], source: dict[str, Any], name: str, root: Path) -> Snapshot:
    content = {
        "species": {"tax_id": species.tax_id, "name": species.name, "latin": species.latin},
        "source": source,
    }
    return Snapshot.write(root / "snapshots" / species.name / name, tables=tables, content=content)


def _offline(species: Species, source: str, where: Source, genes: Sequence[str] | None, root: Path) -> Snapshot:
    """Find a snapshot, or make one of files that are here, without opening a connection."""
    if where.folder is not None:
        return _few(_from_files(species, where, root, Patience(), None), genes, root)
    if genes is not None and (same := _asked_before(species, genes, root)) is not None:
        return same
    if (kept := _fetched_before(species, where, root, is_ncbi=source in {"auto", "ncbi"})) is not None:
        return _few(kept, genes, root)
    if source == "auto":
        with suppress(SnapshotError):
            facts = _facts(species, root)
            _log.warning("offline, and nothing of NCBI was fetched for %s: using the bundled facts", species.name)
            return _few(facts, genes, root)
    wanted = "" if source == "auto" else f" --source {source if source == 'ncbi' else where.where}"
    raise FetchError(
        f"offline, and nothing was fetched for {species.name} before: run "
        f"`genetext fetch --species {species.name}{wanted}` where there is a network, with the same GENETEXT_CACHE"
    )


def _fetched_before(species: Species, where: Source, root: Path, *, is_ncbi: bool) -> Snapshot | None:
    """Return what this source gave last for the whole species: a snapshot, else one made of its downloads; or None.

    What stands for NCBI now (a mirror, say) does not make what came from NCBI itself another source.
    """
    places = {where.where, NCBI} if is_ncbi else {where.where}
    for kept in list_snapshots(species, kind="ncbi", root=root):
        if kept.is_whole and kept.manifest["source"]["where"] in places and _is_sound(kept, "it is not used"):
            return kept
    try:
        files = _collect(species, where, lambda name: download.cached_file(where, name, root=root))
    except FetchError as nothing:
        _log.debug("of what was downloaded before: %s", nothing)
        return None
    return _snapshot(species, where, files, root)


def _instead(species: Species, where: Source, error: Unreachable, genes: Sequence[str] | None, root: Path) -> Snapshot:
    """Return what is on this machine in place of NCBI, and say so in one line; or raise why there is nothing."""
    if genes is not None and (same := _asked_before(species, genes, root)) is not None:
        _log.warning("NCBI cannot be reached (%s): using what was fetched for these genes before", error)
        return same
    if (kept := _fetched_before(species, where, root, is_ncbi=True)) is not None:
        _log.warning("NCBI cannot be reached (%s): using the snapshot %s fetched before", error, kept.path.name)
        return _few(kept, genes, root)
    try:
        facts = _facts(species, root)
    except SnapshotError as none:
        raise Unreachable(f"{error}; and there is nothing on this machine to use instead: {none}") from error
    _log.warning("NCBI cannot be reached (%s): using the bundled facts, which hold no summaries", error)
    return _few(facts, genes, root)


def _asked_before(species: Species, genes: Sequence[str], root: Path) -> Snapshot | None:
    """Return the last snapshot that E-utilities gave for the same genes."""
    asked = sorted(set(genes))
    kept = list_snapshots(species, kind="eutils", root=root)
    same = (item for item in kept if item.manifest["source"].get("genes") == asked)
    return next((item for item in same if _is_sound(item, "it is not used")), None)


def _facts(species: Species, root: Path) -> Snapshot:
    from genetext.text import facts

    return facts.open_facts(species, root=root)


def _open(wanted: str | Path, species: Species, root: Path) -> Snapshot:
    """Open a snapshot by its folder, or by the beginning of its digest or folder's name."""
    if Path(wanted).is_dir():
        found = Snapshot.open(Path(wanted))
    else:
        text = str(wanted)
        fitting = [
            item
            for item in list_snapshots(species, root=root)
            if text and (item.digest.startswith(text) or item.path.name.startswith(text))
        ]
        if len(fitting) != 1:
            here = first_ten([item.path.name for item in fitting or list_snapshots(species, root=root)]) or "none"
            raise SnapshotError(
                f"{text!r} is neither a folder nor the beginning of one {species.name} snapshot's digest; here: {here}"
            )
        (found,) = fitting
    if found.species.tax_id != species.tax_id:
        raise SnapshotError(f"{found.path} is a snapshot of {found.species.name}, not of {species.name}")
    if problems := manifest.verify(found.path, found.manifest):
        raise SnapshotError(f"{first_ten(problems)}: the snapshot is damaged, fetch it again")
    return found


def _kept(species: Species, kind: str, digest: str, root: Path) -> Snapshot | None:
    """Return the whole and readable snapshot made of this input, and note that it is current."""
    for path in (root / "snapshots" / species.name).glob(f"{kind}*-{digest}"):
        try:
            kept = Snapshot.open(path)
        except SnapshotError as error:
            _log.warning("%s; it is made anew", error)
            continue
        # Sizes alone would let the same damage through run after run.
        if not _is_sound(kept, "it is made anew"):
            continue
        with suppress(OSError):  # a read-only cache can be read
            os.utime(path / "manifest.json")
        return kept
    return None


def _is_sound(snapshot: Snapshot, otherwise: str) -> bool:
    """Whether a snapshot's files have the bytes that its manifest tells; if not, warn and say what is done about it."""
    try:
        problems = manifest.verify(snapshot.path, snapshot.manifest)
    except OSError as error:
        problems = [f"{snapshot.path} cannot be read: {error.strerror or error}"]
    if problems:
        _log.warning("%s: the snapshot is damaged; %s", first_ten(problems), otherwise)
    return not problems


def _input_digest(species: Species, sha256: Mapping[str, str]) -> str:
    # The tables too: one that came later is parsed out of files that were here before.
    return disk.sha256_json([genetext.__version__, FORMAT_VERSION, sorted(SCHEMAS), species.tax_id, dict(sha256)])[:12]


def _date(last_modified: str) -> str:
    """Return an HTTP date as YYYY-MM-DD, or an empty string."""
    try:
        return parsedate_to_datetime(last_modified).astimezone(UTC).date().isoformat() if last_modified else ""
    except ValueError:
        return ""


def _base(url: str) -> str:
    return url.rstrip("/") + "/"
