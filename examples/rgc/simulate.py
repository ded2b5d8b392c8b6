"""A simulated atlas of mouse retinal ganglion cells (RGCs): counts with 45 types, for a machine without a network.

What is known, and comes from `rgc_types.csv` (published facts, with their source): the names of the types, how common
each is (0.15 % to 8.4 % of the cells), the genes that tell it from the others, present or absent, and how the cells of
the adult atlas were spread over ten samples and three batches. The names of the other genes are real mouse symbols.

What is drawn at random, and says nothing about real RGCs: how strongly any gene is expressed, which types share
programmes of genes (a tree of types drawn at random, each branch with genes drawn at random), how noisy a gene is, what
the batches do, and the size of the cells. What is written about genes takes no part: symbols are chosen from a sorted
list with a generator of random numbers, and the counts are the same whatever the genes are called. A prior from text
therefore has nothing to find in the programmes. Only the markers are where they really are.

For type t, gene g and cell c of sample s in batch b, with size factor l_c (log-normal):

    log m_tg = base_g + sum of the programmes of the branches above t + marker_tg
    mu_cg = l_c ((1 - a) p_cg + a ambient_g),   p_c = softmax_g(log m_tg + batch_bg + sample_sg)
    x_cg = Poisson(Gamma(shape 1/phi_g, mean mu_cg)) (negative binomial), set to 0 with probability d exp(-mu_cg)

so that every marker is missed in many cells and, as ambient RNA, seen in cells that have none. The strengths (`Design`)
were set once, by looking at PCA and nearest neighbours alone: about nine cells in ten right with 50 cells per type to
learn from, six with five, and the rarest types mostly wrong.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse
from numpy.typing import NDArray

TYPES = Path(__file__).with_name("rgc_types.csv")
TITLE = "simulated mouse RGC atlas"
# Labelled cells of the adult atlas by sample and batch (Tran et al. 2019).
SAMPLES = {
    "aRGC1": ("Batch1", 3528),
    "aRGC2": ("Batch1", 3294),
    "aRGC3": ("Batch2", 4738),
    "aRGC4": ("Batch2", 4279),
    "aRGC5": ("Batch2", 4139),
    "aRGC6": ("Batch2", 2594),
    "aRGC7": ("Batch3", 3982),
    "aRGC8": ("Batch3", 3322),
    "aRGC9": ("Batch3", 3172),
    "aRGC10": ("Batch3", 2651),
}
# Genes that adult RGCs are known to express, as a class or as neurons. How strongly is drawn.
_EXPRESSED_LIST = """
Rbpms Slc17a6 Thy1 Nefl Nefm Nefh Sncg Pou4f1 Pou4f2 Pou4f3 Isl1 Tubb3 Gap43 Stmn2 Stmn3 Snap25 Syt1 Syt4 Vsnl1 Calm1
Calm2 Map1b Map2 Mapt Uchl1 Ndrg4 Rtn1 Rtn3 Atp1b1 Atp1a3 Cplx1 Sncb Nrn1 Ebf1 Ebf3 Elavl3 Elavl4 Rbfox3 Calb2 Pvalb
Eomes Satb1 Satb2 Jam2 Cdh6 Mafb Kcnd2 Kcnip4 Scn1a Scn8a Gria2 Grin1 Gabra1 Ntng1 Meg3 Actb Tuba1a Tubb2a Tubb2b
Hsp90ab1 Hspa8 Eef1a1 Ubb Ubc Gapdh Aldoa Ldha Pkm Ckb Cox4i1 Cox6c Atp5a1 Ndufa4 Rpl3 Rpl13 Rps6 Rps27a Tmsb4x Tmsb10
"""
EXPRESSED = tuple(_EXPRESSED_LIST.split())
MIN_CELLS = 4
_CLONES = r"Gm\d|.*Rik\d?$|LOC\d|[A-Z]{2}\d{5}"
_NOT_NEURAL = (
    r"Or\d+[a-z]|Olfr|Vmn\dr|Taar|Tas\dr|Krt(?:ap)?\d|Mrgpr[abhx]\d|Defb?a?\d|Mup\d|Scgb|Ig[hkl][vdjc]|Tr[abdg][vdjc]|"
    r"Prame|Oog|Speer|Btbd35|Ssx|Xlr|Sly|Spin2|Magea|Prl\dd?[abc]|Ceacam\d|Cyp\d|Serpina|Klr[abci]|Hist?\d|H\d[-a-z]"
)
_BLOCK = 512


@dataclass(frozen=True, kw_only=True)
class Design:
    """What is drawn, and how.

    Attributes
    ----------
    n_cells, n_genes
        Size of the atlas. Each type has at least `MIN_CELLS` cells.
    seed
        The same seed gives the same atlas.
    library
        Median number of counts of a cell, over the simulated genes.
    library_sd
        Standard deviation of its logarithm.
    branch, leaf
        Share of the genes in the programme of an inner branch of the tree of types, and of a single type.
    fold
        Standard deviation of the log fold changes in a programme.
    marker
        How far above its background a marker is, in log units, at the median.
    dispersion
        Median of the genes' negative binomial dispersion phi: the variance is mu + phi mu^2.
    batch, sample
        Standard deviations of the log fold changes between batches, and between samples of a batch.
    ambient
        Share of a cell's counts that comes from the mean of all cells.
    dropout
        Largest probability of losing a count that is there; falls off as exp(-mu).
    """

    n_cells: int = 6000
    n_genes: int = 2500
    seed: int = 0
    library: float = 2200.0
    library_sd: float = 0.45
    branch: float = 0.05
    leaf: float = 0.04
    fold: float = 1.0
    marker: float = 3.0
    dispersion: float = 0.18
    batch: float = 0.15
    sample: float = 0.08
    ambient: float = 0.08
    dropout: float = 0.2


def read_types(path: Path = TYPES) -> pd.DataFrame:
    """Read the facts about types: `type` (index), `cells`, `markers`, `survival`, `certainty`, `note`."""
    return pd.read_csv(path, comment="#", index_col="type", keep_default_na=False)


def mouse_symbols() -> list[str]:
    """Return symbols of mouse's protein-coding genes from genetext's bundled facts, sorted.

    Without clones, and without families that retinal neurons do not express: receptors of smell, pheromones and taste,
    hair proteins, defensins, immunoglobulins and the like, which together are a tenth of all genes.
    """
    from genetext.acquire import find_species
    from genetext.text.facts import open_facts

    genes = open_facts(find_species("mouse")).genes
    symbols = genes.loc[genes["gene_type"] == "protein-coding", "symbol"]
    return sorted(set(symbols[~symbols.str.match(_CLONES) & ~symbols.str.match(_NOT_NEURAL)]))


def simulate(design: Design | None = None, *, symbols: Sequence[str] | None = None) -> anndata.AnnData:
    """Draw an atlas.

    Parameters
    ----------
    design
        Sizes and strengths. Default: `Design()`.
    symbols
        Names to choose the genes that are neither markers nor in `EXPRESSED` from. Default: `mouse_symbols()`.

    Returns
    -------
    anndata.AnnData
        `X` counts `(n_cells, n_genes)`, CSR of int32. `obs`: `cell_type`, `sample`, `batch`, `survival`. `var`: `role`
        (`marker`, `expressed in RGCs`, `other`). `uns["simulated"]` says what was drawn, and that it was.

    Raises
    ------
    ValueError
        Too few cells for the types, or too few genes (or symbols) for the markers and the expressed genes.
    """
    design = design or Design()
    types = read_types()
    named, roles = _genes(types, design, symbols)
    least = MIN_CELLS * len(types)
    if design.n_cells < least:
        raise ValueError(f"{design.n_cells:,} cells are too few for {len(types)} types: at least {least:,}")
    # One stream per part, so that more cells change none of what is known of the genes.
    for_genes, for_cells, for_counts = np.random.SeedSequence(design.seed).spawn(3)
    genes, cells = np.random.default_rng(for_genes), np.random.default_rng(for_cells)

    log_mean = _profiles(genes, types, named, roles, design)
    batches = list(dict.fromkeys(batch for batch, _ in SAMPLES.values()))
    shift = {batch: genes.normal(0, design.batch, design.n_genes) for batch in batches}
    shift_of = np.stack(
        [shift[batch] + genes.normal(0, design.sample, design.n_genes) for batch, _ in SAMPLES.values()]
    )
    phi = design.dispersion * genes.lognormal(0, 0.5, design.n_genes)

    kind = np.repeat(np.arange(len(types)), _sizes(types["cells"].to_numpy(float), design.n_cells))
    cells.shuffle(kind)
    share = np.array([n for _, n in SAMPLES.values()], float)
    sample = cells.choice(len(SAMPLES), size=design.n_cells, p=share / share.sum())
    library = design.library * cells.lognormal(0, design.library_sd, design.n_cells)
    ambient = _softmax(log_mean).T @ (types["cells"].to_numpy(float) / types["cells"].sum())

    blocks = []
    starts = range(0, design.n_cells, _BLOCK)
    for start, stream in zip(starts, for_counts.spawn(len(starts)), strict=True):
        rows, rng = slice(start, start + _BLOCK), np.random.default_rng(stream)
        profile = _softmax(log_mean[kind[rows]] + shift_of[sample[rows]])
        mu = library[rows, None] * ((1 - design.ambient) * profile + design.ambient * ambient)
        counts = rng.poisson(rng.gamma(1 / phi, mu * phi))
        counts[rng.random(counts.shape) < design.dropout * np.exp(-mu)] = 0
        blocks.append(scipy.sparse.csr_matrix(counts.astype(np.int32)))
    names = types.index.to_numpy()
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(names[kind], categories=names),
            "sample": pd.Categorical(np.array(list(SAMPLES))[sample], categories=list(SAMPLES)),
            "batch": pd.Categorical(np.array([batch for batch, _ in SAMPLES.values()])[sample]),
            "survival": pd.Categorical(types["survival"].to_numpy()[kind]),
        },
        index=[f"simulated_{cell:05d}" for cell in range(design.n_cells)],
    )
    var = pd.DataFrame({"role": pd.Categorical(roles)}, index=pd.Index(named))
    adata = anndata.AnnData(scipy.sparse.vstack(blocks, format="csr"), obs=obs, var=var)
    adata.uns["title"] = TITLE
    adata.uns["simulated"] = {
        "what": "counts drawn at random by genetext's example; no cell of this file was ever measured",
        "known": "names, shares and marker genes of types, shares of samples and batches: Tran et al. 2019",
        **asdict(design),
    }
    return adata


def is_simulated(adata: Any) -> bool:
    """Whether these cells were drawn by `simulate`."""
    return "simulated" in adata.uns


def markers(types: pd.DataFrame) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return for each type the genes that it is known to have, and those that it is known to lack."""
    parts = {name: text.split() for name, text in types["markers"].items()}
    present = {name: [gene for gene in genes if not gene.startswith("-")] for name, genes in parts.items()}
    absent = {name: [gene[1:] for gene in genes if gene.startswith("-")] for name, genes in parts.items()}
    return present, absent


def _genes(
    types: pd.DataFrame, design: Design, symbols: Sequence[str] | None
) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Return names and roles of the genes: the markers, those known to be expressed, and others."""
    present, absent = markers(types)
    marking = sorted({gene for genes in (*present.values(), *absent.values()) for gene in genes})
    expressed = [gene for gene in EXPRESSED if gene not in set(marking)]
    n_other = design.n_genes - len(marking) - len(expressed)
    taken = {*marking, *expressed}
    rest = [name for name in sorted(set(mouse_symbols() if symbols is None else symbols)) if name not in taken]
    if not 0 <= n_other <= len(rest):
        raise ValueError(
            f"{design.n_genes:,} genes are not possible: at least {len(taken):,} (markers and genes of RGCs), "
            f"at most {len(taken) + len(rest):,}"
        )
    rng = np.random.default_rng([design.seed, 1])
    other = [rest[place] for place in np.sort(rng.choice(len(rest), n_other, replace=False))]
    roles = ["marker"] * len(marking) + ["expressed in RGCs"] * len(expressed) + ["other"] * n_other
    return np.array([*marking, *expressed, *other], object), np.array(roles, object)


def _profiles(
    rng: np.random.Generator,
    types: pd.DataFrame,
    named: NDArray[np.object_],
    roles: NDArray[np.object_],
    design: Design,
) -> NDArray[np.float64]:
    """Return log means `(n_types, n_genes)`, up to a constant of each type."""
    base = rng.normal(0, 1.5, len(named))  # log-normal means: a few genes have most of the counts
    known = roles == "expressed in RGCs"
    base[known] = np.quantile(base, rng.uniform(0.85, 1.0, known.sum()))
    marking = roles == "marker"
    base[marking] = np.quantile(base, rng.uniform(0.2, 0.5, marking.sum()))
    log_mean = np.repeat(base[None], len(types), axis=0)
    open_to = np.flatnonzero(~marking)
    for branch in _branches(rng, list(rng.permutation(len(types)))):
        share = design.leaf if len(branch) == 1 else design.branch
        chosen = rng.choice(open_to, max(1, round(share * len(named))), replace=False)
        log_mean[np.ix_(branch, chosen)] += rng.normal(0, design.fold, len(chosen))

    place = {gene: column for column, gene in enumerate(named)}
    present, absent = markers(types)
    strength = rng.lognormal(np.log(design.marker), 0.2, len(named))
    lacking = {gene: {name for name, genes in absent.items() if gene in genes} for gene in named[marking]}
    for gene in named[marking]:  # no marker is its types' alone: some other types have a little of it
        free = [row for row, name in enumerate(types.index) if name not in lacking[gene] and gene not in present[name]]
        some = rng.choice(free, size=min(len(free), rng.integers(1, 7)), replace=False)
        log_mean[some, place[gene]] += strength[place[gene]] * rng.uniform(0.1, 0.6, len(some))
    for row, name in enumerate(types.index):
        for gene in present[name]:
            log_mean[row, place[gene]] = base[place[gene]] + strength[place[gene]]
        for gene in absent[name]:
            log_mean[row, place[gene]] = base[place[gene]] - 2
    return log_mean


def _branches(rng: np.random.Generator, members: list[int]) -> list[list[int]]:
    """Split the types in two, and again, at random; return the members of every branch below the root."""
    if len(members) == 1:
        return []
    cut = int(np.clip(round(rng.uniform(0.25, 0.75) * len(members)), 1, len(members) - 1))
    halves = members[:cut], members[cut:]
    return [branch for half in halves for branch in (half, *_branches(rng, half))]


def _sizes(cells: NDArray[np.float64], n_cells: int) -> NDArray[np.int64]:
    """Divide the cells among the types by their shares, each at least `MIN_CELLS`; largest remainders first."""
    sizes = np.full(len(cells), MIN_CELLS, np.int64)
    wanted = cells / cells.sum() * n_cells
    while sizes.sum() < n_cells:  # to whoever is furthest below its share
        missing = np.maximum(wanted - sizes, 0)
        left = n_cells - sizes.sum()
        given = np.floor(missing / missing.sum() * left).astype(np.int64)
        if not given.any():
            given[np.argsort(-missing, kind="stable")[:left]] = 1
        sizes += given
    return sizes


def _softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled = np.exp(values - values.max(axis=1, keepdims=True))
    return scaled / scaled.sum(axis=1, keepdims=True)
