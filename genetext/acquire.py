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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from genetext import disk, locks, manifest
from genetext import species as known_species
from genetext.errors import FetchError, ResolveError, SnapshotError, SpeciesError, Unreachable, first_ten
from genetext.fetch import download, entrez, web
from genetext.fetch.dates import day
from genetext.fetch.download import NCBI, File, Source
from genetext.fetch.eutils import EUTILS, Eutils
from genetext.fetch.limits import Limits
from genetext.fetch.web import Patience
from genetext.names import snapshots
from genetext.names.lookup import Lookup
from genetext.names.rules import is_missing, rewritten
from genetext.names.tables import AMBIGUOUS, Tables
from genetext.progress import Progress
from genetext.provenance import source_digest
from genetext.species import HUMAN, Species
from genetext.text import facts, folders, parse
from genetext.text.snapshot import FORMAT_VERSION, SCHEMAS, Snapshot, list_snapshots
from genetext.text.subset import keep_genes

_log = logging.getLogger("genetext")


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
    limits: Limits | None = None,
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
    limits
        How much a file may hold. Default: `Limits.from_environment()`.

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
        url=(eutils_url or os.environ.get("GENETEXT_EUTILS_URL") or EUTILS).rstrip("/") + "/",
        patience=patience,
        root=root,
    )
    is_ncbi = source in {"auto", "ncbi"}
    if isinstance(snapshot, Snapshot):
        return snapshot
    known = find_species(species, eutils=eutils if is_ncbi and not offline else None, root=root)
    if snapshot is not None:
        return _open(snapshot, known, root)
    where = ncbi_url or os.environ.get("GENETEXT_NCBI_URL") or NCBI if is_ncbi else source
    if source == "facts":
        return _some(facts.open_facts(known, root=root), genes, root)
    request = _Request(
        known,
        str(source),
        Source.parse(where),
        genes,
        eutils,
        root,
        patience,
        limits or Limits.from_environment(),
        progress,
    )
    return request.offline() if offline else request.online()


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
        return snapshots.find_species(name, root=root)
    except SpeciesError as error:
        if eutils is None:
            raise
        try:
            species = entrez.find_species(str(name), eutils=eutils)
        except Unreachable:
            raise error from None
        except SpeciesError as unknown:
            raise SpeciesError(f"{error} ({unknown})") from None
        # NCBI may know as a synonym what genetext knows under another name.
        return next((item for item in known_species.KNOWN if item.tax_id == species.tax_id), species)


@dataclass(frozen=True)
class _Request:
    """A wish for a snapshot: of which species and genes, from where."""

    species: Species
    source: str
    where: Source
    genes: Sequence[str] | None
    eutils: Eutils
    root: Path
    patience: Patience
    limits: Limits
    progress: Progress | None

    @property
    def is_ncbi(self) -> bool:
        """Whether NCBI, or what stands for it, is asked."""
        return self.source in {"auto", "ncbi"}

    def online(self) -> Snapshot:
        """Ask the source; under `auto` take what is on this machine where it cannot be reached."""
        try:
            if self.genes is not None and self.is_ncbi:
                return self._from_eutils(self.genes)
            return self._some(self._from_files())
        except Unreachable as error:
            if self.source == "auto":
                return self._instead(error)
            hint = (
                "use --source auto, which falls back on what is on this machine"
                if self.is_ncbi
                else "check the address"
            )
            raise Unreachable(f"{error}; try again later, or {hint}") from error

    def offline(self) -> Snapshot:
        """Find a snapshot, or make one of files that are here, without opening a connection."""
        name = self.species.name
        if self.where.folder is not None:
            return self._some(self._from_files())
        if (same := self._asked_before()) is not None:
            return same
        if (kept := self._fetched_before()) is not None:
            return self._some(kept)
        if self.source == "auto" and name in facts.species_with_facts():
            _log.warning("offline, and nothing of NCBI was fetched for %s: using the bundled facts", name)
            return self._some(facts.open_facts(self.species, root=self.root))
        option = "" if self.source == "auto" else f" --source {'ncbi' if self.is_ncbi else self.where.where}"
        raise FetchError(
            f"offline, and nothing was fetched for {name} before: run `genetext fetch --species {name}{option}` where "
            f"there is a network, with the same GENETEXT_CACHE"
        )

    def _instead(self, error: Unreachable) -> Snapshot:
        """Return what is on this machine in place of NCBI, and say so in one line; or raise why there is nothing."""
        if (same := self._asked_before()) is not None:
            _log.warning("NCBI cannot be reached (%s): using what was fetched for these genes before", error)
            return same
        if (kept := self._fetched_before()) is not None:
            _log.warning("NCBI cannot be reached (%s): using the snapshot %s fetched before", error, kept.path.name)
            return self._some(kept)
        try:
            shipped = facts.open_facts(self.species, root=self.root)
        except SnapshotError as reason:
            raise Unreachable(f"{error}; and there is nothing on this machine to use instead: {reason}") from error
        _log.warning("NCBI cannot be reached (%s): using the bundled facts, which hold no summaries", error)
        return self._some(shipped)

    def _fetched_before(self) -> Snapshot | None:
        """Return what this source gave last for the whole species: a snapshot, else one made of its downloads; or None.

        What stands for NCBI now (a mirror, say) does not make what came from NCBI itself another source.
        """
        places = {self.where.where, NCBI} if self.is_ncbi else {self.where.where}
        for kept in list_snapshots(self.species, kind="ncbi", root=self.root):
            if kept.is_whole and kept.manifest["source"].get("where") in places and _is_sound(kept):
                return kept
        try:
            files = self._collect(lambda name: download.cached_file(self.where, name, root=self.root))
        except FetchError as reason:
            _log.debug("of what was downloaded before: %s", reason)
            return None
        return self._snapshot(files)

    def _asked_before(self) -> Snapshot | None:
        """Return the last snapshot that E-utilities gave for the same genes."""
        if self.genes is None:
            return None
        kept, asked = list_snapshots(self.species, kind="eutils", root=self.root), sorted(set(self.genes))
        same = (item for item in kept if item.manifest["source"].get("genes") == asked)
        return next((item for item in same if _is_sound(item)), None)

    def _from_files(self) -> Snapshot:
        """Download (or find) the files, and parse them unless that was done before."""
        if self.where.folder is not None:
            return self._snapshot(self._collect(lambda name: download.cached_file(self.where, name)))
        with locks.lock(f"download-{self.where.id}", root=self.root), web.client(self.patience) as client:
            options: dict[str, Any] = {
                "client": client,
                "root": self.root,
                "patience": self.patience,
                "progress": self.progress,
                "limits": self.limits,
            }
            return self._snapshot(self._collect(lambda name: download.fetch_file(self.where, name, **options)))

    def _collect(self, get: Callable[[str], File | None]) -> dict[str, File]:
        """Get each file by its logical name; `get` returns None for a file that the source lacks."""
        files: dict[str, File] = {}
        for item in parse.FILES:
            if self.species.tax_id == HUMAN.tax_id and not item.of_human:
                continue
            if item.name == "human_gene_info" and "gene_orthologs" not in files:
                continue
            paths = item.paths(self.species)
            file = next(filter(None, map(get, paths)), None)
            if file is None and item.name == "human_gene_info" and files["gene_info"].name == HUMAN.gene_info[-1]:
                file = files["gene_info"]  # of all species, so of human too
            if file is not None:
                files[item.name] = file
            elif item.loss:
                _log.info("%s has no %s: %s", self.where.where, paths[0], item.loss)
            else:
                raise FetchError(
                    f"{self.where.where} has no {' or '.join(paths)}, and without it there is no text of "
                    f"{self.species.latin}"
                )
        return files

    def _snapshot(self, files: Mapping[str, File]) -> Snapshot:
        """Return the snapshot of these files: the one in the cache, or a new one."""
        sha256 = {name: file.sha256 for name, file in files.items()}
        # The reader too: another one makes other tables out of the same files.
        key = [source_digest("genetext.text"), FORMAT_VERSION, sorted(SCHEMAS), self.species.tax_id, sha256]
        digest = disk.sha256_json(key)[:12]
        date = max((day(file.last_modified) for file in files.values()), default="")
        with locks.lock(f"snapshot-{self.species.name}", root=self.root):
            if (kept := _kept(self.species, "ncbi", digest, self.root)) is not None:
                return kept
            try:
                paths = {name: file.path for name, file in files.items()}
                tables = parse.assemble(paths, self.species, limits=self.limits)
            except FetchError:
                # Else the server would go on answering "not modified", and the same bytes would fail for ever.
                if self.where.folder is None:
                    for file in files.values():
                        download.forget_validators(file)
                raise
            told = ("name", "sha256", "size", "last_modified")
            recorded = {name: {key: getattr(file, key) for key in told} for name, file in sorted(files.items())}
            source = {"kind": "ncbi", "where": self.where.where, "files": recorded}
            return _write(self.species, tables, source, "-".join(filter(None, ("ncbi", date, digest))), self.root)

    def _from_eutils(self, genes: Sequence[str]) -> Snapshot:
        """Ask E-utilities, by GeneID for names that are known here: they mean the same with a network and without."""
        by_name, refused = _known_here(self.species, genes, self.root)
        asked = {by_name.get(name) or self._plain(name): name for name in genes if name not in refused}
        if not asked:
            reasons = [f"{name} ({reason})" for name, reason in refused.items()]
            raise FetchError(f"none of the {len(refused):,} genes asked for is one: {first_ten(reasons)}")
        answer = entrez.fetch_genes(list(asked), self.species, eutils=self.eutils, progress=self.progress)
        source = {
            "kind": "eutils",
            "where": self.eutils.where,
            "files": {},
            "genes": sorted(set(genes)),
            "not_found": refused | {asked[name]: reason for name, reason in answer.not_found.items()},
        }
        return _write_some(self.species, parse.tables_of(answer), source, self.root)

    def _plain(self, name: str) -> str:
        """Return a name as NCBI writes it: without `GeneID:`, a version, or the prefix of a genome of the species."""
        other = rewritten(name.strip())
        return name if other is None or other.genome not in {"", self.species.name} else other.name

    def _some(self, whole: Snapshot) -> Snapshot:
        return _some(whole, self.genes, self.root)


def _known_here(species: Species, genes: Sequence[str], root: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return GeneIDs of names that a snapshot here knows, and why others are refused that mean no single gene."""
    try:
        tables = Tables.of(snapshots.default(species, root=root))
    except ResolveError:
        return {}, {name: "missing" for name in genes if is_missing(name.strip())}
    lookup = Lookup(tables)
    answers = {name: lookup.read(name.strip()) for name in genes}
    # A borrowed GeneID (of the human ortholog, in the facts for mouse) is none of the species.
    places = {name: answer.places[0] for name, answer in answers.items() if answer.is_gene}
    known = {name: str(tables.gene_ids[at]) for name, at in places.items() if not tables.borrowed[at]}
    return known, {
        name: lookup.refusal(answer)
        for name, answer in answers.items()
        if answer.status == AMBIGUOUS or answer.reason == "missing"
    }


def _some(whole: Snapshot, genes: Sequence[str] | None, root: Path) -> Snapshot:
    """Return a snapshot of some genes of a whole species' snapshot; the snapshot itself where `genes` is None."""
    if genes is None:
        return whole
    tables = {name: whole.table(name) for name in SCHEMAS}
    matches, not_found = Lookup(Tables.of(whole), partial(snapshots.glances, root=root)).find(genes)
    reasons = [f"{name} ({reason})" for name, reason in not_found.items()]
    if not matches:
        raise FetchError(f"{whole.path} has none of the {len(genes):,} genes asked for: {first_ten(reasons)}")
    if reasons:
        _log.warning("%d of %d genes not found: %s", len(reasons), len(genes), first_ten(reasons))
    source = {**whole.manifest["source"], "genes": sorted(set(genes)), "not_found": not_found, "of": whole.digest}
    return _write_some(whole.species, keep_genes(tables, list(matches.values())), source, root)


def _write_some(species: Species, tables: Mapping[str, pa.Table], source: dict[str, Any], root: Path) -> Snapshot:
    # Some genes' tables are small: their content tells whether they are here already.
    rows = {name: table.to_pylist() for name, table in tables.items()}
    digest = disk.sha256_json([FORMAT_VERSION, species.tax_id, source, rows])[:12]
    kind = source["kind"]
    with locks.lock(f"snapshot-{species.name}", root=root):
        kept = _kept(species, kind, f"genes-{digest}", root)
        return kept if kept is not None else _write(species, tables, source, f"{kind}-genes-{digest}", root)


def _write(species: Species, tables: Mapping[str, pa.Table], source: dict[str, Any], name: str, root: Path) -> Snapshot:
    content = {
        "species": {"tax_id": species.tax_id, "name": species.name, "latin": species.latin},
        "source": source,
    }
    return Snapshot.write(root / "snapshots" / species.name / name, tables=tables, content=content)


def _open(wanted: str | Path, species: Species, root: Path) -> Snapshot:
    """Open a snapshot by its folder, or by the beginning of its digest or folder's name."""
    if (folder := download.existing_folder(str(wanted))) is not None:
        snapshot = Snapshot.open(folder)
    else:
        text, kept = str(wanted), list_snapshots(species, root=root)
        matches = [item for item in kept if text and (item.digest.startswith(text) or item.path.name.startswith(text))]
        if len(matches) != 1:
            here = first_ten([item.path.name for item in matches or kept]) or "none"
            raise SnapshotError(
                f"{text!r} is neither a folder nor the beginning of one {species.name} snapshot's digest; here: {here}"
            )
        (snapshot,) = matches
    if snapshot.species.tax_id != species.tax_id:
        raise SnapshotError(f"{snapshot.path} is a snapshot of {snapshot.species.name}, not of {species.name}")
    if problems := manifest.verify(snapshot.path, snapshot.manifest):
        raise SnapshotError(f"{first_ten(problems)}: the snapshot is damaged, fetch it again")
    return snapshot


def _kept(species: Species, kind: str, digest: str, root: Path) -> Snapshot | None:
    """Return the whole and readable snapshot made of this input, and note that it is current."""
    paths = (root / "snapshots" / species.name).glob(f"{kind}*-{digest}")
    return folders.kept(paths, Snapshot.open, what="snapshot")


def _is_sound(snapshot: Snapshot) -> bool:
    return folders.is_sound(snapshot, what="snapshot", otherwise="it is not used")
