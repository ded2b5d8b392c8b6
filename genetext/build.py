"""From a species to an index: text, vectors, directory.

The whole path in one function, `build`. Each step is kept, so that the next build does only what is new: NCBI is asked
for changes, a known snapshot is not parsed again, a known text is not encoded again, and an index whose inputs did
not change is not written again.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from genetext import disk, manifest
from genetext.encoders.base import TRUNCATED, WINDOWED, Encoded
from genetext.encoding.paid import Confirm, Payment
from genetext.encoding.run import encode
from genetext.encoding.store import VectorStore
from genetext.errors import GeneIndexError, first_ten
from genetext.index import FORMAT, FORMAT_VERSION, GeneIndex
from genetext.progress import Progress
from genetext.species import Species
from genetext.text.compose import GeneTexts, Template
from genetext.text.snapshot import Snapshot
from genetext.vectors import EmbeddingSpec, TextEmbedding, without_hub

log = logging.getLogger("genetext")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,119}")


@dataclass
class BuildReport:
    """What a build did.

    Attributes
    ----------
    coverage
        How many genes have which kind of text: `genes`, `summary`, `ortholog`, `facts`, `name`, `none`.
    n_texts
        Distinct texts.
    n_encoded
        Texts that this build encoded, summed over the encoders; the others were in the store.
    n_truncated, n_windowed
        Texts longer than the encoder's window, by what was done with them.
    padding
        Share of padding in what went through a transformer.
    unchanged
        Whether the index was there already, made from the same inputs.
    seconds
        Wall-clock seconds by stage: `text`, `compose`, `encode`, `write`.
    """

    coverage: dict[str, int] = field(default_factory=dict)
    n_texts: int = 0
    n_encoded: int = 0
    n_truncated: int = 0
    n_windowed: int = 0
    padding: float = 0.0
    unchanged: bool = False
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Built:
    """An index, and what its build did."""

    index: GeneIndex
    report: BuildReport


def build(
    species: str | int | Species = "human",
    *,
    encoder: str | EmbeddingSpec = "minilm",
    source: str = "auto",
    genes: Sequence[str] | None = None,
    gene_types: Sequence[str] | None = ("protein-coding",),
    template: Template | None = None,
    post: str = "",
    precision: str = "auto",
    long_texts: str | None = None,
    dimensions: int | None = None,
    name: str | None = None,
    output: Path | None = None,
    snapshot: Snapshot | str | None = None,
    offline: bool = False,
    root: Path | None = None,
    progress: Progress | None = None,
    confirm: bool | Confirm = False,
    max_cost: float | None = None,
    device: str = "auto",
    threads: int | None = None,
    batch_api: bool = False,
) -> Built:
    """Fetch what is written about the genes of a species, encode it, and write a searchable index.

    Parameters
    ----------
    species
        Common name, Latin name or NCBI taxonomy id.
    encoder
        `minilm`, `lexical`, `biobert`, a hub id, a folder, several joined with `+`; or an `EmbeddingSpec`, which
        decides `post`, `precision` and `long_texts` too.
    source
        `auto` (NCBI, else the bundled facts), `ncbi`, `facts`, the URL of a mirror, or a folder in NCBI's layout.
    genes
        Only these genes: symbols, GeneIDs or Ensembl ids, fetched one by one through E-utilities. Default: all.
    gene_types
        NCBI's `type_of_gene` values to keep; None for all.
    template
        How sections are composed to one text per gene. Default: `Template()`.
    post
        Post-processing of the vectors, for example `"center,abtt:3"`.
    precision, long_texts
        See `genetext.encoders.spec`. Default: the fastest precision that is faithful on this machine, and what the
        encoder's preset does with long texts.
    dimensions
        Shortened vectors, of paid encoders that have them.
    name
        Name of the index within its species. Default: the encoder's, and whatever else is not as by default.
    output
        Write the index to this folder and not into the cache.
    snapshot
        Use this snapshot and fetch nothing: opened, its folder, or the beginning of its digest.
    offline
        Open no connection.
    root
        The cache root.
    progress
        Told how far the work is, see `Progress`.
    confirm, max_cost, batch_api
        What may be sent to a paid encoder, and how, see `genetext.encoding.paid.Payment`. Default: nothing.
    device, threads
        Where transformers run, see `genetext.encoders.load`.

    Raises
    ------
    GenetextError
        Anything that stands between here and an index, in one sentence. What was finished before is kept.
    """
    from genetext.acquire import fetch
    from genetext.text.compose import compose

    root = root or disk.cache_dir()
    template = template or Template()
    if name is None:
        name = default_name(encoder, genes, post=post, template=template, gene_types=gene_types, dimensions=dimensions)
    elif not _NAME.fullmatch(name):
        raise GeneIndexError(f"{name!r} cannot name an index: letters, digits and +-._ only, and no dot in front")
    report = BuildReport()
    clock = _Clock(report.seconds)
    with disk.cache_in_use(root), without_hub(offline):
        spec = encoder
        if not isinstance(spec, EmbeddingSpec):
            spec = EmbeddingSpec.parse(
                spec, post=post, precision=precision, long_texts=long_texts, dimensions=dimensions, device=device
            )
        if not isinstance(snapshot, Snapshot):
            snapshot = fetch(
                species, source=source, genes=genes, offline=offline, root=root, progress=progress, snapshot=snapshot
            )
        pa.default_memory_pool().release_unused()  # what parsing took is not needed for encoding
        clock("text")
        path = (output or root / "indices" / snapshot.species.name / name).absolute()
        with disk.lock(f"index-{disk.sha256_json(str(path.resolve()))[:16]}", root=root) as waited:
            if waited:
                log.info("waited for another build of %s", path)
            kinds = gene_types if genes is None else None
            texts = compose(snapshot, template, gene_types=kinds)
            report.coverage = dict(texts.coverage)
            clock("compose")
            inputs = _inputs(snapshot, texts, kinds, spec)
            current = _current(path, inputs)
            if current is not None:
                report.n_texts, report.unchanged = current.manifest["n_texts"], True
                return Built(current, report)
            embedding = TextEmbedding.load(spec, device=device, threads=threads)
            payment = Payment(confirm=confirm, max_cost=max_cost, batch_api=batch_api, offline=offline)
            vectors, rows = _vectors(embedding, texts, root, report, progress, payment)
            clock("encode")
            index = GeneIndex.write(
                path,
                genes=texts.frame.assign(**rows),
                vectors=vectors,
                embedding=embedding,
                content={
                    **inputs,
                    "coverage": report.coverage,
                    "n_texts": report.n_texts,
                    "n_truncated": report.n_truncated,
                    "n_windowed": report.n_windowed,
                    "libraries": {
                        name: version(name) for name in ("genetext", "numpy", "faiss-cpu", "torch", "transformers")
                    },
                },
            )
            clock("write")
        return Built(index, report)


def build_index(species: str | int | Species = "human", **options: Any) -> GeneIndex:
    """Build an index as `build` does (same options) and return it, without the report."""
    return build(species, **options).index


def default_name(
    encoder: str | EmbeddingSpec,
    genes: Sequence[str] | None = None,
    *,
    post: str = "",
    template: Template | None = None,
    gene_types: Sequence[str] | None = ("protein-coding",),
    dimensions: int | None = None,
) -> str:
    """Return the name of an index whose caller gives none: the encoder's, and whatever is not as by default.

    Different choices have different names, so that no index takes the place of another one unasked.
    """
    named = encoder if isinstance(encoder, str) else "+".join(spec.model for spec in encoder.encoders)
    parts = [named.strip("/.").replace("/", "--")]
    if dimensions is not None:
        parts.append(str(dimensions))
    if post:
        parts.append(post.replace(",", "-").replace(":", ""))
    if genes is not None:
        parts.append(f"genes-{disk.sha256_json(sorted(genes))[:8]}")
    elif gene_types is None or tuple(gene_types) != ("protein-coding",):
        parts.append("all-genes" if gene_types is None else "+".join(gene_types))
    if template is not None and template != Template():
        parts.append(f"text-{template.digest[:6]}")
    return "".join(letter if letter.isalnum() or letter in "+-._" else "-" for letter in "-".join(parts))[-120:].lstrip(
        ".-"
    )


def _vectors(
    embedding: TextEmbedding,
    texts: GeneTexts,
    root: Path,
    report: BuildReport,
    progress: Progress | None,
    payment: Payment,
) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
    """Encode the distinct texts; return a vector for each gene that has any, and columns on what became of each."""
    digests, distinct = texts.frame["text_digest"].to_numpy(), texts.texts
    if not distinct:
        raise GeneIndexError(
            f"not one of {len(texts.frame):,} genes has a text: use other sections, more gene types, or another source"
        )
    report.n_texts = len(distinct)
    blocks: list[Encoded] = []
    with VectorStore(root / "vectors") as store:
        for encoder in embedding.encoders:
            sent, keys = list(distinct.values()), list(distinct)
            encoding = encode(encoder, sent, keys, store=store, root=root, payment=payment, progress=progress)
            blocks.append(encoding.encoded)
            report.n_encoded += encoding.n_made
            report.padding = max(report.padding, encoder.padding)
    longest = np.max([block.n_tokens for block in blocks], axis=0)
    cut = np.max([block.cut for block in blocks], axis=0)
    report.n_truncated, report.n_windowed = int((cut == TRUNCATED).sum()), int((cut == WINDOWED).sum())
    raw = [block.vectors for block in blocks]
    blocks.clear()
    joined = embedding.join(raw)
    raw.clear()

    place = {digest: position for position, digest in enumerate(distinct)}
    text_of_gene = np.array([place.get(digest, -1) for digest in digests], np.int64)
    nonzero: NDArray[np.bool_] = np.any(joined != 0, axis=1)
    has_vector = (text_of_gene >= 0) & nonzero[text_of_gene]
    row = np.full(len(digests), -1, np.int32)
    row[has_vector] = np.arange(has_vector.sum(), dtype=np.int32)
    columns: dict[str, NDArray[Any]] = {
        "row": row,
        "n_tokens": np.where(text_of_gene >= 0, longest[text_of_gene], 0).astype(np.int32),
        "cut": np.where(text_of_gene >= 0, cut[text_of_gene], 0).astype(np.int8),
    }
    taken = text_of_gene[has_vector]
    one_each = len(taken) == len(joined) and bool((taken == np.arange(len(joined))).all())
    return joined if one_each else joined[taken], columns


def _inputs(
    snapshot: Snapshot, texts: GeneTexts, gene_types: Sequence[str] | None, spec: EmbeddingSpec
) -> dict[str, Any]:
    """Return what decides the bytes of an index; it stands in the manifest and tells whether an index is current."""
    return {
        "species": dict(snapshot.manifest["species"]),
        "snapshot": {"digest": snapshot.digest, "source": snapshot.manifest["source"]},
        "text": {**texts.template.to_json(), "gene_types": None if gene_types is None else list(gene_types)},
        "texts_digest": disk.sha256_json(texts.frame[["gene_id", "text_digest"]].astype(str).to_numpy().tolist()),
        "embedding": spec.to_json(),
    }


def _current(path: Path, inputs: dict[str, Any]) -> GeneIndex | None:
    """Return the index at `path` where it was made from exactly these inputs, else None."""
    if not (path / manifest.FILE).exists():
        return None
    try:
        recorded = manifest.read(path, format=FORMAT, format_version=FORMAT_VERSION, error=GeneIndexError)
    except GeneIndexError as error:
        if path.is_dir() and not any(path.glob("index.faiss")):
            raise
        log.warning("%s; building it again", error)
        return None
    differs = [key for key, value in inputs.items() if recorded.get(key) != value]
    if differs:
        log.warning("replacing the index %s, which was made from another %s", path, first_ten(differs))
        return None
    problems = manifest.verify(path, recorded)
    if problems:
        log.warning("%s; building it again", problems[0])
        return None
    return GeneIndex.open(path)


class _Clock:
    """Writes down how long each stage took."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds, self._last = seconds, perf_counter()

    def __call__(self, stage: str) -> None:
        now = perf_counter()
        self._seconds[stage], self._last = now - self._last, now
