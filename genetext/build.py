"""From a species to an index: text, vectors, directory.

The whole path in one function, `build`. Each step is kept, so that the next build does only what is new: NCBI is asked
for changes, a known snapshot is not parsed again, a known text is not encoded again, and an index whose inputs did
not change is not written again.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any, ParamSpec

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from genetext import disk, locks, manifest
from genetext.encoders.base import TRUNCATED, WINDOWED, Encoded
from genetext.encoding.paid import Confirm, Payment
from genetext.encoding.run import encode
from genetext.encoding.store import VectorStore
from genetext.errors import GeneIndexError, first_ten
from genetext.index import GeneIndex
from genetext.progress import Progress
from genetext.species import Species
from genetext.text.compose import GeneTexts, Template
from genetext.text.layer import TextLayer
from genetext.text.snapshot import Snapshot
from genetext.vectors import EmbeddingSpec, TextEmbedding, without_hub

log = logging.getLogger("genetext")

_LONGEST = 120
_LETTER = re.compile(r"[A-Za-z0-9+._-]")
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9+._-]{{0,{_LONGEST - 1}}}")
_Options = ParamSpec("_Options")


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """The choices that decide what is in an index, beside its species and the text that is current; see `build`.

    Raises
    ------
    EncoderError
        `embedding` finds a choice that is unknown, before any work.
    """

    encoder: str | EmbeddingSpec = "minilm"
    genes: Sequence[str] | None = None
    gene_types: Sequence[str] | None = ("protein-coding",)
    template: Template = field(default_factory=Template)
    post: str = ""
    precision: str = "auto"
    long_texts: str | None = None
    dimensions: int | None = None

    def embedding(self, *, device: str = "auto") -> EmbeddingSpec:
        """Return the encoders and the post-processing that are meant."""
        if isinstance(self.encoder, EmbeddingSpec):
            return self.encoder
        return EmbeddingSpec.parse(
            self.encoder,
            post=self.post,
            precision=self.precision,
            long_texts=self.long_texts,
            dimensions=self.dimensions,
            device=device,
        )

    @property
    def kinds(self) -> Sequence[str] | None:
        """The types of gene that are kept; named genes are kept whatever their type."""
        return self.gene_types if self.genes is None else None

    @property
    def name(self) -> str:
        """The name of an index whose caller gives none: the encoder's, and whatever is not as by default.

        Different choices have different names. Where letters are lost (a path, a name that is too long), a digest of
        all choices stands at the end.
        """
        if isinstance(self.encoder, EmbeddingSpec):
            encoder, decided = "+".join(spec.model for spec in self.encoder.encoders), self.encoder.fingerprint
            chosen: tuple[object, ...] = ()
        else:
            encoder, decided = self.encoder, ""
            precision = "" if self.precision == "auto" else self.precision
            chosen = (self.dimensions, self.post.replace(",", "-").replace(":", ""), self.long_texts, precision)
        parts = [encoder.strip("/.").replace("/", "--"), *(str(choice) for choice in chosen if choice)]
        lossy = bool(decided) or parts[0].replace("--", "/") != encoder
        if self.genes is not None:
            parts.append(f"genes-{disk.sha256_json(sorted(self.genes))[:8]}")
        elif self.gene_types is None or tuple(self.gene_types) != ("protein-coding",):
            parts.append("all-genes" if self.gene_types is None else "+".join(self.gene_types))
        if self.template != Template():
            parts.append(f"text-{self.template.digest[:6]}")
        written = "-".join(parts)
        name = "".join(letter if _LETTER.fullmatch(letter) else "-" for letter in written).lstrip("+-._")
        if not lossy and name == written and len(name) <= _LONGEST:
            return name
        digest = disk.sha256_json([encoder, decided, *parts])[:8]
        return f"{name[-(_LONGEST - 9) :].lstrip('+-._')}-{digest}".lstrip("-")


@dataclass
class BuildReport:
    """What a build did.

    Attributes
    ----------
    coverage
        How many genes have which kind of text: `genes`, and those of `genetext.text.compose.KINDS`.
    sections
        What each section gave: genes, words, and what of it was cut to its budget; see `SectionUse`.
    layers
        The manifests of the sources' texts that lay over the snapshot.
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
    sections: dict[str, dict[str, int]] = field(default_factory=dict)
    layers: list[dict[str, Any]] = field(default_factory=list)
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
    texts: Sequence[str | Path | TextLayer] = (),
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
    texts
        Files of text of your own, `FILE` or `FILE=name`; see `genetext.layers.Texts`.
    post
        Post-processing of the vectors, for example `"center,abtt:3"`.
    precision, long_texts
        See `genetext.encoders.spec`. Default: the fastest precision that is faithful on this machine, and what the
        encoder's preset does with long texts.
    dimensions
        Shortened vectors, of paid encoders that have them.
    name
        Name of the index within its species. Default: the encoder's, and whatever else is not as by default. An index
        that was made from other choices is replaced only where its name, or `output`, is given.
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
    from genetext.layers import Request, Texts
    from genetext.sources.notice import notices
    from genetext.text.compose import compose

    root = root or disk.cache_dir()
    sources = Texts(template or Template(), texts)
    options = BuildOptions(
        encoder=encoder,
        genes=genes,
        gene_types=gene_types,
        template=sources.template,
        post=post,
        precision=precision,
        long_texts=long_texts,
        dimensions=dimensions,
    )
    if name is not None and not _NAME.fullmatch(name):
        raise GeneIndexError(f"{name!r} cannot name an index: letters, digits and +-._ only, and no dot in front")
    report = BuildReport()
    started = perf_counter()

    def clock(stage: str) -> None:
        report.seconds[stage] = perf_counter() - started - sum(report.seconds.values())

    with locks.cache_in_use(root), without_hub(offline):
        spec = options.embedding(device=device)
        if not isinstance(snapshot, Snapshot):
            snapshot = fetch(
                species, source=source, genes=genes, offline=offline, root=root, progress=progress, snapshot=snapshot
            )
        layers = sources.gather(snapshot, Request(offline=offline, root=root, progress=progress))
        pa.default_memory_pool().release_unused()  # what parsing took is not needed for encoding
        clock("text")
        path = (output or root / "indices" / snapshot.species.name / (name or options.name)).absolute()
        with locks.lock(f"index-{disk.sha256_json(str(path.resolve()))[:16]}", root=root) as waited:
            if waited:
                log.info("waited for another build of %s", path)
            composed = compose(snapshot, options.template, layers=layers, gene_types=options.kinds)
            report.coverage = dict(composed.coverage)
            report.sections = {name: asdict(use) for name, use in composed.use.items()}
            report.layers = [dict(layer.manifest.content) for layer in layers]
            clock("compose")
            inputs = _inputs(snapshot, composed, options.kinds, spec)
            current = _current(path, inputs, root, asked=name is not None or output is not None)
            if current is not None:
                report.n_texts, report.unchanged = current.manifest.get("n_texts", 0), True
                return Built(current, report)
            embedding = TextEmbedding.load(spec, device=device, threads=threads)
            payment = Payment(confirm=confirm, max_cost=max_cost, batch_api=batch_api, offline=offline)
            vectors, rows = _vectors(embedding, composed, root, report, progress, payment)
            clock("encode")
            index = GeneIndex.write(
                path,
                genes=composed.frame.assign(**rows),
                vectors=vectors,
                embedding=embedding,
                root=root,
                content={
                    **inputs,
                    "coverage": report.coverage,
                    "licences": notices(snapshot, options.template, layers),
                    "sections": report.sections,
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


def _without_report(function: Callable[_Options, Built]) -> Callable[_Options, GeneIndex]:
    """Return a function of the same parameters, as type checkers see them too, that gives the index alone."""

    @wraps(function)
    def index_alone(*args: _Options.args, **options: _Options.kwargs) -> GeneIndex:
        return function(*args, **options).index

    index_alone.__name__ = index_alone.__qualname__ = "build_index"
    index_alone.__doc__ = "Build an index as `build` does, with the same parameters, and return it without the report."
    return index_alone


build_index = _without_report(build)


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
        "layers": [layer.provenance for layer in texts.layers],
        "text": {**texts.template.to_json(), "gene_types": None if gene_types is None else list(gene_types)},
        "texts_digest": disk.sha256_json(texts.frame[["gene_id", "text_digest"]].astype(str).to_numpy().tolist()),
        "embedding": spec.to_json(),
    }


def _current(path: Path, inputs: dict[str, Any], root: Path, *, asked: bool) -> GeneIndex | None:
    """Return the index at `path` where it was made from exactly these inputs, else None.

    One that was made from other choices may only be replaced where that was `asked` for; newer text needs no asking.
    """
    if not (path / manifest.FILE).exists():
        return None
    try:
        index = GeneIndex.open(path, root=root)
    except GeneIndexError as error:
        if path.is_dir() and not any(path.glob("index.faiss")):
            raise
        log.warning("%s; building it again", error)
        return None
    others = _other_choices(index.manifest.content, inputs)
    if others and not asked:
        raise GeneIndexError(
            f"{path} was made from another {first_ten(others)}: keep both by giving this one a name of its own "
            f"(--name), or replace it with --name {path.name}"
        )
    differs = [key for key, value in inputs.items() if index.manifest.get(key) != value]
    if differs:
        log.warning("replacing the index %s, which was made from another %s", path, first_ten(differs))
        return None
    problems = index.verify()
    if problems:
        log.warning("%s; building it again", problems[0])
        return None
    return index


def _other_choices(recorded: Mapping[str, Any], inputs: Mapping[str, Any]) -> list[str]:
    """Name the choices in which an index differs from what is to be built; newer text or weights are none."""

    def of(content: Mapping[str, Any], key: str) -> Any:
        if key == "text":
            return {part: value for part, value in (content.get("text") or {}).items() if part != "version"}
        if key == "genes":
            return "genes" in content["snapshot"]["source"]
        if key == "post":
            return content["embedding"]["post"]
        return [
            tuple(encoder.get(part) for part in ("kind", "model", "long_texts", "dimensions"))
            for encoder in content["embedding"]["encoders"]
        ]

    keys = [key for key in ("text", "genes", "post", "encoder") if of(recorded, key) != of(inputs, key)]
    kinds = [content["snapshot"]["source"]["kind"] for content in (recorded, inputs)]
    # Facts are what ships; they take the place of no text that was fetched.
    return [*keys, "source"] if kinds[1] == "facts" != kinds[0] else keys
