"""Names of species and their NCBI taxonomy ids."""

import difflib
import re
from dataclasses import dataclass

from genetext.errors import SpeciesError


def is_file_name(name: str) -> bool:
    """Whether a name can stand in a path as it is: letters, digits, `_`, `-` and `.`, and no way out by `..`."""
    return bool(re.fullmatch(r"[\w.-]+", name, re.ASCII)) and ".." not in name and name != "."


@dataclass(frozen=True)
class Species:
    """A species as NCBI Gene files it.

    Attributes
    ----------
    tax_id
        NCBI taxonomy id.
    name
        The name used in paths and on the command line: `human`, `mouse`, or the Latin name with underscores.
    latin
        Latin name as NCBI writes it, for example `Mus musculus`.
    group
        The folder of NCBI's `GENE_INFO/` that the species belongs to (`Mammalia`), or None where it is not known.
    aliases
        Other names that mean this species, in lower case.
    file
        The stem of the species' own file in that folder where it is not the Latin name with underscores.
    """

    tax_id: int
    name: str
    latin: str
    group: str | None = None
    aliases: tuple[str, ...] = ()
    file: str | None = None

    def __post_init__(self) -> None:
        if not is_file_name(self.name):
            raise SpeciesError(
                f"{self.name!r} cannot be a species' name: it is used in paths, so only letters, digits, _, - and . "
                f"may be in it"
            )

    @property
    def gene_info(self) -> tuple[str, ...]:
        """Where NCBI may keep the species' gene_info, smallest file first; not every species has a file of its own."""
        if self.group is None:
            return ("gene_info.gz",)
        stem = self.file or self.latin.replace(" ", "_")
        folder = f"GENE_INFO/{self.group}"
        shared = (f"{folder}/All_{self.group}.gene_info.gz", "gene_info.gz")
        # A name with brackets, slashes and the like (NCBI has such) is no file's name.
        return (f"{folder}/{stem}.gene_info.gz", *shared) if is_file_name(stem) else shared


HUMAN = Species(9606, "human", "Homo sapiens", "Mammalia", ("homo", "hs", "hsapiens"))
MOUSE = Species(10090, "mouse", "Mus musculus", "Mammalia", ("mm", "mmusculus", "house mouse"))
KNOWN: tuple[Species, ...] = (
    HUMAN,
    MOUSE,
    Species(10116, "rat", "Rattus norvegicus", "Mammalia", ("rn", "rnorvegicus", "norway rat", "brown rat")),
    Species(9544, "macaque", "Macaca mulatta", "Mammalia", ("rhesus", "rhesus macaque", "rhesus monkey", "mmulatta")),
    Species(9541, "crab-eating-macaque", "Macaca fascicularis", "Mammalia", ("cynomolgus", "cynomolgus macaque")),
    Species(9598, "chimpanzee", "Pan troglodytes", "Mammalia", ("chimp",)),
    Species(9483, "marmoset", "Callithrix jacchus", "Mammalia", ("common marmoset",)),
    Species(9823, "pig", "Sus scrofa", "Mammalia", ("swine",)),
    Species(9913, "cow", "Bos taurus", "Mammalia", ("cattle", "bovine")),
    Species(9615, "dog", "Canis lupus familiaris", "Mammalia", ("canis familiaris",), "Canis_familiaris"),
    Species(9986, "rabbit", "Oryctolagus cuniculus", "Mammalia", ()),
    Species(9940, "sheep", "Ovis aries", "Mammalia", ()),
    Species(9031, "chicken", "Gallus gallus", "Non-mammalian_vertebrates", ("hen",)),
    Species(7955, "zebrafish", "Danio rerio", "Non-mammalian_vertebrates", ("dr", "drerio")),
    Species(8364, "western-clawed-frog", "Xenopus tropicalis", "Non-mammalian_vertebrates", ("xenopus",)),
    Species(8355, "african-clawed-frog", "Xenopus laevis", "Non-mammalian_vertebrates", ()),
    Species(7227, "fruit-fly", "Drosophila melanogaster", "Invertebrates", ("fly", "fruit fly", "dm", "dmelanogaster")),
    Species(6239, "worm", "Caenorhabditis elegans", "Invertebrates", ("c. elegans", "nematode", "celegans")),
    Species(
        559292,
        "yeast",
        "Saccharomyces cerevisiae S288C",
        "Fungi",
        ("budding yeast", "saccharomyces cerevisiae"),
        "Saccharomyces_cerevisiae",
    ),
    Species(3702, "arabidopsis", "Arabidopsis thaliana", "Plants", ("thale cress",)),
)


def find(name: str | int | Species) -> Species:
    """Return the species meant by a common name, a Latin name or a taxonomy id.

    Parameters
    ----------
    name
        `"human"`, `"Mus musculus"`, `"mus_musculus"`, `10090`, `"10090"`, or a `Species`. Letter case, dashes and
        underscores do not matter. A taxonomy id that is not in the built-in table is taken at its word.

    Raises
    ------
    SpeciesError
        The name is not known; the message suggests near ones.
    """
    if isinstance(name, Species):
        return name
    text = plain(str(name))
    if text.isdecimal() and len(text) < 10 and (tax_id := int(text)):
        return next(
            (known for known in KNOWN if known.tax_id == tax_id), Species(tax_id, f"taxid-{tax_id}", f"taxon {tax_id}")
        )
    names = {plain(other): known for known in KNOWN for other in (known.name, known.latin, *known.aliases)}
    if text in names:
        return names[text]
    near = list(dict.fromkeys(names[match].name for match in difflib.get_close_matches(text, names, n=3, cutoff=0.6)))
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise SpeciesError(
        f"unknown species {str(name)!r}: {hint}Known by name: {', '.join(known.name for known in KNOWN)}; any other "
        f"species by its NCBI taxonomy id, for example --species 10090"
    )


def plain(name: str) -> str:
    """Return a name as names are compared: lower case, single spaces, no dashes and underscores."""
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())
