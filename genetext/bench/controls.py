"""Controls: what a good number must be better than, and what it may owe itself to.

=============================  =======================================================================================
permuted vectors               the first method's vectors, dealt out anew among its genes: only whose they are is lost
random vectors                 Gaussian directions of the same dimension and norms
text length and kind           no content: how many words, and whether they are a summary, facts or a name. Well-studied
                               genes have more text and more annotations, so that this alone is better than chance
symbol and name only           TF-IDF of the heading of each text
TF-IDF                         the first index's texts by the lexical encoder, without any language model
TF-IDF, no GO terms            the same without Gene Ontology terms and the sentences that are made of them
TF-IDF, no template sentences  the same without sentences that a program wrote out of annotations
TF-IDF, neither                the same without both
TF-IDF, no designations        the same without the designations, where the texts have them
names and designations only    TF-IDF of the heading and the designations of each text, where they have them
=============================  =======================================================================================

The texts are composed anew from the snapshot that the index was built from.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from genetext import disk
from genetext.bench.methods import Method, of_arrays
from genetext.encoding.paid import Payment
from genetext.errors import BenchError
from genetext.index import GeneIndex
from genetext.progress import Progress
from genetext.text.compose import Template, compose
from genetext.text.layer import TextLayer, list_layers
from genetext.text.snapshot import Snapshot

PERMUTED, RANDOM = "permuted vectors", "random vectors"
LENGTH, NAME, NAMES = "text length and kind", "symbol and name only", "names and designations only"
TFIDF = "TF-IDF"
_DESIGNATIONS = "designations"
VARIANTS = {
    "no GO terms": {"drop": ("go",)},
    "no template sentences": {"drop": ("templates",)},
    "neither": {"drop": ("go", "templates")},
}
"""What is left out of the texts, as changes to a template."""


@dataclass(frozen=True, kw_only=True)
class ControlOptions:
    """How controls are made.

    Attributes
    ----------
    draws
        Of permuted and of random vectors, 1 or more.
    seed
        First seed of these draws.
    reencode
        Whether the encoder of each index named also gets the texts without GO facts, template sentences, or both.
    payment
        What a paid encoder may be sent for that. Default: nothing.
    """

    draws: int = 3
    seed: int = 0
    reencode: bool = False
    payment: Payment = field(default_factory=Payment)

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise BenchError(f"draws={self.draws}: it has to be at least 1")


@dataclass(frozen=True, eq=False)
class Texts:
    """The texts of an index, and what they can be composed anew from.

    Attributes
    ----------
    frame
        One row per gene, as `compose` gives them.
    template, gene_types
        How they were composed.
    snapshot
        From what; None where it is not on this machine.
    lacking
        Why it is None.
    layers
        The texts of sources that lie over the snapshot.
    """

    frame: pd.DataFrame
    template: Template
    gene_types: tuple[str, ...] | None
    snapshot: Snapshot | None
    lacking: str = ""
    layers: tuple[TextLayer, ...] = ()

    @classmethod
    def of(cls, index: GeneIndex, *, root: Path) -> "Texts":
        """Take the texts of an index."""
        from genetext.text.snapshot import list_snapshots

        recorded = dict(index.manifest["text"])
        types = recorded.pop("gene_types")
        digest = index.manifest["snapshot"]["digest"]
        cached = (kept for kept in list_snapshots(index.species, root=root) if kept.digest == digest)
        snapshot = next(cached, None) or _shipped(index, root)
        lacking = "" if snapshot else f"the snapshot {digest[:12]} that {index.path.name} was built from is not here"
        kept = {layer.digest: layer for layer in list_layers(root=root)}
        for recorded_layer in index.manifest.get("layers", ()):
            if recorded_layer["digest"] not in kept:
                snapshot, name = None, recorded_layer["source"]["name"]
                lacking = f"the text of {name} that {index.path.name} was built from is not here"
        return cls(
            frame=index.genes,
            template=Template.from_json(recorded),
            gene_types=None if types is None else tuple(types),
            snapshot=snapshot,
            lacking=lacking,
            layers=tuple(
                kept[layer["digest"]] for layer in index.manifest.get("layers", ()) if layer["digest"] in kept
            ),
        )

    @cached_property
    def _genes(self) -> list[int]:
        return [int(gene) for gene in self.frame["gene_id"]]

    def composed(self, template: Template) -> pd.DataFrame:
        """Compose the texts of the same genes by another template."""
        assert self.snapshot is not None
        return compose(self.snapshot, template, layers=self.layers, genes=self._genes).frame


def vector_controls(method: Method, options: ControlOptions) -> Iterator[Method]:
    """Yield permuted and random stand-ins of a method's vectors, `draws` of each."""
    for number in range(options.seed, options.seed + options.draws):
        for name, priors in (
            (PERMUTED, method.priors.permuted(number)),
            (RANDOM, method.priors.random(number)),
        ):
            fingerprint = disk.sha256_json([method.fingerprint, name, number])
            yield Method(
                name, priors, fingerprint, control=True, note=f"of {method.name}, mean of {options.draws} draws"
            )


def text_controls(texts: Texts) -> tuple[list[Method], dict[str, str]]:
    """Return the controls on the texts, and those that cannot be had, with the reason."""
    methods = [_length(texts.frame), _tfidf(NAME, _headings(texts.frame))]
    whole = _tfidf(TFIDF, texts.frame)
    methods.append(whole)
    others = {f"{TFIDF}, {label}": template for label, template in variants(texts.template).items()}
    if _DESIGNATIONS in texts.template.names:
        others[NAMES] = Template(sections=("symbol", "name", _DESIGNATIONS))
    missing = {}
    for name, template in others.items():
        if texts.snapshot is None:
            missing[name] = texts.lacking
            continue
        frame = texts.composed(template)
        changed = int((frame["text"].to_numpy() != texts.frame["text"].to_numpy()).sum())
        note = f"{changed:,} of {len(frame):,} texts differ from the index's"
        methods.append(
            _tfidf(name, frame, note=note)
            if changed
            else dataclasses.replace(whole, name=name, note="no text differs from the index's")
        )
    return methods, missing


def variants(template: Template) -> dict[str, Template]:
    """Return the templates that leave out what may hold the answer."""
    changed = {label: dataclasses.replace(template, **changes) for label, changes in VARIANTS.items()}  # type: ignore[arg-type]
    if _DESIGNATIONS in template.names:
        kept = tuple(str(part) for part in template.parts if part.alternatives != (_DESIGNATIONS,))
        changed[f"no {_DESIGNATIONS}"] = dataclasses.replace(template, sections=kept)
    return changed


def reencoded(
    index: GeneIndex, texts: Texts, *, root: Path, progress: Progress | None = None, payment: Payment
) -> Iterator[Method]:
    """Yield an index's own encoder on the texts of each variant that changes any; its vectors come from the store.

    Each is an index of its own under `<root>/bench/indices`, so that the next run opens it.
    """
    from genetext.build import build
    from genetext.priors import GenePriors

    assert texts.snapshot is not None
    shown = f"{index.path.parent.name}/{index.path.name}"
    for label, template in variants(texts.template).items():
        built = build(
            index.species,
            encoder=index.embedding_spec,
            snapshot=texts.snapshot,
            template=template,
            texts=texts.layers,
            gene_types=texts.gene_types,
            output=root / "bench" / "indices" / f"{index.path.name}-{template.digest[:12]}",
            root=root,
            progress=progress,
            confirm=payment.confirm,
            max_cost=payment.max_cost,
            batch_api=payment.batch_api,
        )
        priors = GenePriors.open(built.index, root=root)
        yield Method(f"{shown}, {label}", priors, priors.fingerprint, control=True)


def _shipped(index: GeneIndex, root: Path) -> Snapshot | None:
    """Return the facts that come with genetext, where the index was built from them."""
    from genetext.text import facts

    if index.species.name not in facts.species_with_facts():
        return None
    snapshot = facts.open_facts(index.species, root=root)
    return snapshot if snapshot.digest == index.manifest["snapshot"]["digest"] else None


def _headings(frame: pd.DataFrame) -> pd.DataFrame:
    headings = [f"{symbol}: {name}." for symbol, name in zip(frame["symbol"], frame["name"].fillna(""), strict=True)]
    return frame.assign(text=headings)


def _length(frame: pd.DataFrame) -> Method:
    sources = frame["source"].astype(str)
    facts = sources.isin(["facts", "ortholog-facts"]).to_numpy()
    bare = sources.isin(["name", "none"]).to_numpy()
    words = np.array([len(text.split()) for text in frame["text"]])
    columns = np.stack([np.log1p(words), ~facts & ~bare, facts, sources.eq("name").to_numpy()], axis=1)
    spread = columns.std(axis=0)
    scaled = ((columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1)).astype(np.float32)
    gene_ids = frame["gene_id"].to_numpy(np.int64)
    fingerprint = disk.sha256_json([LENGTH, gene_ids.tolist(), words.tolist(), sources.tolist()])
    # Every gene has a length, if it is nought.
    return Method(LENGTH, of_arrays(LENGTH, gene_ids, scaled, fingerprint, zeros=True), fingerprint, control=True)


def _tfidf(name: str, frame: pd.DataFrame, *, note: str = "") -> Method:
    """Fit the lexical encoder to the distinct texts of a frame, as an index does."""
    from genetext.encoders.lexical import LexicalEncoder

    encoder = LexicalEncoder()
    texts = frame["text"].to_numpy(dtype=object)
    distinct = [text for text in dict.fromkeys(texts) if text]
    encoder.fit(distinct)
    encoded = encoder.encode(distinct).vectors
    place = {text: row for row, text in enumerate(distinct)}
    at = np.array([place.get(text, -1) for text in texts], np.int64)
    vectors = np.where((at >= 0)[:, None], encoded[at], np.float32(0))
    gene_ids = frame["gene_id"].to_numpy(np.int64)
    fingerprint = disk.sha256_json([encoder.spec.to_json(), gene_ids.tolist(), texts.tolist()])
    return Method(name, of_arrays(name, gene_ids, vectors, fingerprint), fingerprint, control=True, note=note)
