"""What a source of text on genes has to say of itself, and what it yields."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from genetext.fetch.integrity import NCBI_TABLE, Shape
from genetext.fetch.limits import Limits
from genetext.species import Species


@dataclass(frozen=True)
class Licence:
    """Under which terms a source gives its text.

    Attributes
    ----------
    name
        Such as `CC BY 4.0`.
    url
        Where the terms stand; empty where there is no such place.
    share_alike
        Whether what is made of it has to be given under the same terms.
    non_commercial
        Whether commercial use is excluded.
    """

    name: str
    url: str = ""
    share_alike: bool = False
    non_commercial: bool = False

    @property
    def warning(self) -> str:
        """What somebody who passes the result on has to heed, or an empty text."""
        terms = [
            word
            for word, holds in (("share-alike", self.share_alike), ("non-commercial", self.non_commercial))
            if holds
        ]
        return " and ".join(terms)

    def to_json(self) -> dict[str, Any]:
        """Return the licence as a JSON object."""
        return asdict(self)


PUBLIC_DOMAIN = Licence("public domain (US Government)", "https://www.ncbi.nlm.nih.gov/home/about/policies/")
CC_BY = Licence("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/")
UNKNOWN = Licence("as its owner says")


@dataclass(frozen=True)
class RemoteFile:
    """A file of a provider.

    Attributes
    ----------
    name
        Its path below the source's URL, and below the folder of downloads.
    address
        What follows the URL where that is another than `name`: of a service that makes the file when it is asked.
    shape
        How the file is packed, and how the first line of what it holds begins: anything else is refused.
    """

    name: str
    address: str = ""
    shape: Shape = NCBI_TABLE


class TextRow(NamedTuple):
    """A piece of text on a gene.

    Attributes
    ----------
    keys
        What the gene is called, the surest first: NCBI GeneIDs as numbers, names of any kind as strings. The first that
        means one gene counts.
    section
        One of the source's sections.
    text
        What it says, as sentences.
    references
        PubMed ids and the like.
    date
        `YYYY-MM-DD`, `YYYY-MM` or `YYYY` of the text, or empty.
    """

    keys: tuple[int | str, ...]
    section: str
    text: str
    references: tuple[str, ...] = ()
    date: str = ""


class Described:
    """What a source says of itself.

    Attributes
    ----------
    name
        How it is chosen: lower-case letters, digits and `_`.
    title
        Its full name.
    licence, citation
        Under which terms it gives its text, and what to cite.
    url
        Base URL of its files; empty where the user brings the file. `$GENETEXT_<NAME>_URL` stands in its place.
    sections
        What each section says, in a few words. In a template a section is called `<name>.<section>`, and `<name>`
        alone means all of them.
    from_go
        Whether its sentences are written from Gene Ontology annotations, and so leak into tests on them.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    licence: ClassVar[Licence]
    citation: ClassVar[str]
    url: ClassVar[str] = ""
    sections: ClassVar[Mapping[str, str]]
    from_go: ClassVar[bool] = False

    @property
    def place(self) -> str:
        """Where its text comes from, in a few words."""
        return "the network" if self.url else "a file of yours"

    def to_json(self) -> dict[str, Any]:
        """Return what a manifest says of the source."""
        return {
            "name": self.name,
            "title": self.title,
            "licence": self.licence.to_json(),
            "citation": self.citation,
            "sections": dict(self.sections),
            "from_go": self.from_go,
        }


class TextSource(Described, ABC):
    """A source of text on genes. A subclass in one module, named in the registry, is a source.

    Attributes
    ----------
    drop_near_duplicates
        Whether of a gene's rows that say nearly the same only the newest is kept.
    """

    drop_near_duplicates: ClassVar[bool] = False

    @property
    def identity(self) -> str:
        """What decides how files are read, beside the source's code: the name, and options where it has any."""
        return self.name

    def shipped(self, species: Species) -> Path | None:
        """Return the folder of a layer that is installed with the source, or None."""
        del species
        return None

    def files(self, species: Species) -> Sequence[RemoteFile]:
        """Return the files that hold a species; none where the source does not cover it, or the user brings them."""
        del species
        return ()

    @abstractmethod
    def rows(self, paths: Sequence[Path], species: Species, limits: Limits) -> Iterator[TextRow]:
        """Yield what the files say about the genes of a species.

        Parameters
        ----------
        paths
            The files of `files`, or those that the user gave.
        species
            Whose genes are wanted.
        limits
            How much to read.

        Raises
        ------
        FetchError
            A file is not what it should be; the message says which, where, and what was found.
        """
