"""The encoder that needs nothing: TF-IDF over words, then a truncated SVD, fitted on the texts of one index.

Words are weighted by `(1 + ln tf) * (ln((1 + n) / (1 + df)) + 1)`, scaled to unit length, and projected on the leading
right singular vectors of the corpus. Everything is decided by the texts and the spec: linear algebra runs on one thread
and signs are fixed, so that the same corpus gives the same bits at any thread count (on one kind of processor, that is:
another BLAS kernel may round otherwise).

A text or query of which no word is in the vocabulary has no direction. Texts then get a row of zeros, which an index
treats as "no vector"; a query raises `EncoderError` with the words.
"""

import json
import math
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genetext import disk
from genetext.encoders.base import WHOLE, Encoded, Encoder, EncoderSpec, Preset
from genetext.errors import EncoderError, NoDirection, first_ten

#: What may stand in `EncoderSpec.options`, with its defaults.
#:
#: `dims`: most dimensions kept (fewer where the corpus has a lower rank). `ngrams`: 1 for words, 2 for pairs of
#: neighbours too, kept where five texts have them. `min_df`: a word of fewer texts is dropped; 1 keeps the symbols,
#: each of which often stands in its own gene's text alone. `max_features`: only so many of the most frequent words.
#: `iterations`: subspace iterations of the SVD. `seed`: of its random start.
OPTIONS: Mapping[str, int] = {
    "dims": 512,
    "ngrams": 1,
    "min_df": 1,
    "max_features": 50_000,
    "iterations": 4,
    "seed": 0,
}
SPEC = EncoderSpec(
    kind="lexical", model="tfidf-svd", pooling="none", normalize=True, max_tokens=None, options=dict(OPTIONS)
)
"""The preset `lexical`."""

_VOCABULARY, _IDF, _COMPONENTS = "vocabulary.json", "idf.npy", "components.npy"
_BATCH = 1024
_PAIR_MIN_DF = 5
_OVERSAMPLES = 10
# Shares of the largest singular value, and of a unit text, below which float32 holds rounding noise and no direction.
_NO_RANK, _NO_DIRECTION = 1e-4, 1e-5

# A hyphen inside a word joins it: IL-2 and NF-kappaB are one word each, and so is "calcium-dependent".
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
_POSSESSIVE = re.compile(r"['\u2019]s\b")
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2212"), "-")
_GREEK = {
    code: unicodedata.name(chr(code)).split()[3].lower()
    for code in range(0x3B1, 0x3CA)
    if "FINAL" not in unicodedata.name(chr(code))
}
_FUNCTION_WORDS = (
    "a an and are as at be been being between both but by can for from has have in into is it its may not of on or "
    "other such than that the their these this those to via was were which with within"
)
_STOP = frozenset(_FUNCTION_WORDS.split())


def words(text: str) -> list[str]:
    """Split a text into the words that are counted.

    Letter case is folded, Greek letters are spelled out, a plural `s` is cut and function words are dropped. A word
    with hyphens counts joined (`IL-2` as `il2`, like the symbol IL2; `NF-kappaB` as `nfkappab`) and in its parts of two
    letters or more (`calcium-dependent` as `calciumdependent`, `calcium` and `dependent`).
    """
    counted = []
    plain = unicodedata.normalize("NFKC", text).translate(_DASHES).lower().translate(_GREEK)
    for word in _WORD.findall(_POSSESSIVE.sub("", plain)):
        if "-" in word:
            counted.append(_singular(word.replace("-", "")))
            counted.extend(_singular(part) for part in word.split("-") if len(part) > 1 and part not in _STOP)
        elif word not in _STOP:
            counted.append(_singular(word))
    return counted


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 4 and word[-1] == "s" and word[-2] not in "sui" else word


@dataclass(frozen=True)
class _Fitted:
    """What a corpus decides: position of each word, its weight, and `(n_words, dim)` singular vectors."""

    vocabulary: Mapping[str, int]
    idf: NDArray[np.float32]
    components: NDArray[np.float32]


class LexicalEncoder(Encoder):
    """TF-IDF and truncated SVD, fitted on the corpus of an index.

    Parameters
    ----------
    spec
        A spec of kind `lexical`; `options` as in `OPTIONS`.

    Raises
    ------
    EncoderError
        The spec asks for something else than this encoder has.
    """

    corpus_bound = True

    @classmethod
    def presets(cls) -> Sequence[Preset]:
        """Return the one that there is."""
        note = "fitted on the texts of each index; dim is the most it has, fewer where texts are few"
        return [Preset(name="lexical", spec=SPEC, dim=OPTIONS["dims"], note=note)]

    @classmethod
    def options(cls, spec: EncoderSpec) -> tuple[str, ...]:  # noqa: ARG003
        """Return the names in `OPTIONS`."""
        return tuple(OPTIONS)

    def __init__(self, spec: EncoderSpec = SPEC) -> None:
        if spec.kind != "lexical":
            raise EncoderError(f"the lexical encoder got a spec of kind {spec.kind!r}")
        if unknown := sorted(set(spec.options) - set(OPTIONS)):
            raise EncoderError(f"unknown lexical options: {first_ten(unknown)}; known: {', '.join(OPTIONS)}")
        self.spec = spec
        self._options = {**OPTIONS, **spec.options}
        for name, least in {"dims": 1, "ngrams": 1, "min_df": 1, "max_features": 1, "iterations": 1, "seed": 0}.items():
            value = self._options[name]
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise EncoderError(f"lexical option {name} is {value!r}: it must be a whole number of {least} or more")
        self._state: _Fitted | None = None

    @property
    def dim(self) -> int:
        """Length of a vector: at most the option `dims`, fewer where the corpus has a lower rank."""
        return int(self._fitted.components.shape[1])

    def plan(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Divide the texts into batches of 1,024, in their order."""
        return [np.arange(start, min(start + _BATCH, len(texts))) for start in range(0, len(texts), _BATCH)]

    def fit(self, texts: Sequence[str]) -> None:
        """Learn vocabulary, weights and singular vectors.

        Parameters
        ----------
        texts
            All texts of the index. Their order decides signs and rounding, nothing more.

        Raises
        ------
        EncoderError
            There is no text, or no word in them.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(set(self._terms(text)))
        least = min(self._options["min_df"], len(texts))
        # Pairs are many and rare; one that few texts share says nothing that its two words do not.
        often = {term: df for term, df in counts.items() if df >= (_PAIR_MIN_DF if " " in term else least)}
        ranked = [
            term for _, term in sorted((-df, term) for term, df in often.items())[: self._options["max_features"]]
        ]
        if not ranked:
            raise EncoderError(
                f"the lexical encoder finds no word that {least} of the {len(texts):,} texts share: nothing to fit"
            )
        kept = sorted(ranked)
        idf = np.array([math.log((1 + len(texts)) / (1 + often[term])) + 1 for term in kept], dtype=np.float32)
        vocabulary = {term: position for position, term in enumerate(kept)}
        del counts, often, ranked
        weighted = _tfidf((self._terms(text) for text in texts), len(texts), vocabulary, idf)
        components = _right_singular_vectors(
            weighted, self._options["dims"], iterations=self._options["iterations"], seed=self._options["seed"]
        )
        self._state = _Fitted(vocabulary, idf, components)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode texts: `(n, dim) float32`; a text without any known word gives a row of zeros.

        A row depends on its text alone, to the bit, not on the texts beside it.
        """
        terms = [self._terms(text) for text in texts]
        return Encoded(
            vectors=self._project(terms),
            n_tokens=np.array([len(_WORD.findall(text)) for text in texts], dtype=np.int32),
            cut=np.full(len(texts), WHOLE, dtype=np.int8),
        )

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode queries: `(n, dim) float32`, exactly as a text with the same words.

        Raises
        ------
        EncoderError
            A query has no word that the corpus knows, and so no direction.
        """
        vectors = self._project([self._terms(text) for text in texts])
        for text, vector in zip(texts, vectors, strict=True):
            if not vector.any():
                asked = list(dict.fromkeys(words(text)))
                known = [word for word in asked if word in self._fitted.vocabulary]
                if not asked:
                    why = "it has no word that counts"
                elif not known:
                    why = f"none of its words ({first_ten(asked)}) is among those of the index"
                else:
                    why = f"its words ({first_ten(known)}) are too rare in the index to have a direction"
                raise NoDirection(
                    f"the lexical encoder cannot place the query {text!r}: {why}. Use other words, or an index built "
                    f"with another encoder."
                )
        return vectors

    def save(self, directory: Path) -> None:
        """Write `vocabulary.json`, `idf.npy` and `components.npy` into a directory.

        Plain arrays are written without a copy in memory, and read memory-mapped.
        """
        fitted = self._fitted
        disk.write_json(directory / _VOCABULARY, list(fitted.vocabulary))
        for name, values in ((_IDF, fitted.idf), (_COMPONENTS, fitted.components)):
            with disk.atomic_file(directory / name) as handle:
                np.save(handle, values, allow_pickle=False)

    def restore(self, directory: Path) -> None:
        """Read what `save` wrote; the same text then gives the same vector, to the bit.

        Raises
        ------
        EncoderError
            A file is absent, damaged, or does not fit the other.
        """
        try:
            terms = json.loads((directory / _VOCABULARY).read_text(encoding="utf-8"))
            idf, components = (
                np.load(directory / name, mmap_mode="r", allow_pickle=False) for name in (_IDF, _COMPONENTS)
            )
            if not isinstance(terms, list) or idf.ndim != 1 or components.ndim != 2:
                raise ValueError(f"arrays of shape {idf.shape} and {components.shape}, words as {type(terms).__name__}")
        except (OSError, EOFError, ValueError, RecursionError) as error:
            raise EncoderError(
                f"the lexical encoder cannot be read from {directory} ({error}): build the index again"
            ) from error
        if not len(terms) == len(idf) == len(components):
            raise EncoderError(
                f"the lexical encoder in {directory} is damaged: {len(terms):,} words, {len(idf):,} weights and "
                f"{len(components):,} rows of components; build the index again"
            )
        self._state = _Fitted({term: position for position, term in enumerate(terms)}, idf, components)

    @property
    def _fitted(self) -> _Fitted:
        if self._state is None:
            raise EncoderError("the lexical encoder has to be fitted on the texts of an index, or restored from one")
        return self._state

    def _terms(self, text: str) -> list[str]:
        single = words(text)
        terms = list(single)
        for size in range(2, self._options["ngrams"] + 1):
            terms.extend(" ".join(single[start : start + size]) for start in range(len(single) - size + 1))
        return terms

    def _project(self, terms: Sequence[list[str]]) -> NDArray[np.float32]:
        fitted = self._fitted
        weighted = _tfidf(terms, len(terms), fitted.vocabulary, fitted.idf)
        # SciPy adds up each row by itself in one thread: no other row and no thread count changes its bits.
        vectors = np.ascontiguousarray(weighted @ fitted.components, dtype=np.float32)
        length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))[:, None]
        vectors[length[:, 0] < _NO_DIRECTION] = 0
        if self.spec.normalize:
            np.divide(vectors, length.astype(np.float32), out=vectors, where=length >= _NO_DIRECTION)
        return vectors


def _tfidf(
    terms: Sequence[list[str]] | Iterator[list[str]],
    n_texts: int,
    vocabulary: Mapping[str, int],
    idf: NDArray[np.float32],
) -> Any:
    """Weigh the known terms of each text: CSR `(n_texts, n_words) float32`, rows of unit length or empty."""
    from scipy.sparse import csr_array

    ends, columns, weights = array("q", [0]), array("i"), array("f")
    for of_text in terms:
        known = Counter(vocabulary[term] for term in of_text if term in vocabulary)
        row = [(column, (1 + math.log(count)) * float(idf[column])) for column, count in sorted(known.items())]
        length = math.sqrt(math.fsum(weight * weight for _, weight in row))
        columns.extend(column for column, _ in row)
        weights.extend(weight / length for _, weight in row)
        ends.append(len(columns))
    # One type for both index arrays, or SciPy copies them.
    indices, indptr = np.frombuffer(columns, dtype=np.int32), np.asarray(ends, dtype=np.int32)
    return csr_array((np.frombuffer(weights, dtype=np.float32), indices, indptr), shape=(n_texts, len(vocabulary)))


def _right_singular_vectors(matrix: Any, dims: int, *, iterations: int, seed: int) -> NDArray[np.float32]:
    """Return the leading right singular vectors `(n_features, dim) float32` of a sparse matrix, `dim <= dims`.

    Randomized subspace iteration (Halko, Martinsson and Tropp 2011, algorithm 4.4), orthonormalised on the side of the
    texts only, since the side of the words is the long one: one array of words x dims is all that is held of it.
    Directions below the rounding of float32 are cut. Each vector's largest entry is positive.
    """
    from scipy.linalg import qr
    from threadpoolctl import threadpool_limits

    def orthonormal(columns: NDArray[np.float32]) -> NDArray[np.float32]:
        # SciPy's stays in float32, NumPy's would not.
        basis: NDArray[np.float32] = qr(columns, mode="economic", overwrite_a=True, check_finite=False)[0]
        return np.ascontiguousarray(basis)

    n_texts, n_features = matrix.shape
    size = min(dims + _OVERSAMPLES, n_texts, n_features)
    across = matrix.T.tocsr()
    with threadpool_limits(1):
        basis = np.random.default_rng(seed).standard_normal((n_texts, size), dtype=np.float32)
        for _ in range(iterations):
            basis = orthonormal(matrix @ (across @ basis))
        image = across @ basis
        del basis
        gram = sum(
            (part.astype(np.float64).T @ part.astype(np.float64) for part in _blocks(image)), np.zeros((size, size))
        )
        squares, rotation = np.linalg.eigh(gram)
        squares, rotation = squares[::-1], rotation[:, ::-1]
        singular = np.sqrt(np.maximum(squares, 0))
        dim = min(dims, int(np.count_nonzero(singular > _NO_RANK * singular[0])))
        turn = (rotation[:, :dim] / singular[:dim]).astype(np.float32)
        components: NDArray[np.float32] = np.empty((n_features, dim), dtype=np.float32)
        for start, part in zip(range(0, n_features, 4096), _blocks(image), strict=True):
            components[start : start + len(part)] = part @ turn
    components *= np.where(-components.min(axis=0) > components.max(axis=0), -1, 1).astype(np.float32)
    return components


def _blocks(rows: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(rows), 4096):
        yield rows[start : start + 4096]
