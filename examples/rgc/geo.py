"""The adult mouse RGC atlas of Tran et al. 2019: the authors' counts from GEO, and the authors' labels.

Two files, by pooch, into genetext's cache:

- `GSE133382_AtlasRGCs_CountMatrix.csv.gz`, genes x cells, from GEO's supplementary files of GSE133382 (the atlas in
  the series GSE137400). No hash of it is published: the first download writes its sha256 down, and later ones are held
  to it.
- `RGC_Atlas_coordinates.txt`, one row per labelled cell. GEO does not have it, and the Single Cell Portal (SCP509)
  wants a login, so the default is a public copy in the repository davemcg/scEiaD at a fixed commit, whose sha256 is
  known.

pooch's own downloader starts again after a break. `ResumingDownloader` takes its place and asks for the rest.
"""

import gzip
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import anndata
import httpx
import numpy as np
import pandas as pd
import scipy.sparse

from genetext import disk, locks
from genetext.errors import FetchError, first_ten
from genetext.fetch import web
from genetext.fetch.web import Again, Patience
from genetext.progress import Progress

MATRIX = "GSE133382_AtlasRGCs_CountMatrix.csv.gz"
LABELS = "RGC_Atlas_coordinates.txt"
GEO_URL = "https://ftp.ncbi.nlm.nih.gov/geo/series/GSE133nnn/GSE133382/suppl/"
LABELS_URL = (
    "https://raw.githubusercontent.com/davemcg/scEiaD/79554ad1f56813c16cc6d07f8b798054f5417e3e/"
    "data/sanes__RGC_Atlas_coordinates.txt"
)
LABELS_SHA256 = "fa67e66051a6c91f1ed627a7484db8ffd06c045a88b488e9e6dc13a07f1db56d"
MIRROR = "GENETEXT_RGC_URL"
FOLDER = "rgc-tran2019"


@dataclass
class ResumingDownloader:
    """What pooch calls to download a file; a break costs what had not arrived.

    What has arrived lies in `part`, beside a small file with the server's validator, and is asked to be continued
    (`Range`, `If-Range`) in this run or a later one. A file that changed meanwhile, or a server without ranges, starts
    it again.

    Attributes
    ----------
    part
        Where the bytes are kept until all are here.
    patience
        Timeouts, and how often to try.
    progress
        Told the bytes as they arrive.
    """

    part: Path
    patience: Patience = field(default_factory=Patience)
    progress: Progress | None = None

    def __call__(self, url: str, output_file: str | os.PathLike[str], _pooch: object = None) -> None:
        """Download `url` and put it at `output_file`.

        Raises
        ------
        FetchError
            The server refuses, or does not give the whole file after all tries. What arrived is kept.
        """
        shown = web.public(url)
        self.part.parent.mkdir(parents=True, exist_ok=True)
        with web.client(self.patience) as client:
            web.persist(
                lambda: self._try(client, url, shown),
                what=shown,
                client=client,
                patience=self.patience,
                size=self._size,
            )
        shutil.move(self.part, output_file)
        self._record.unlink(missing_ok=True)

    def _try(self, client: web.Client, url: str, shown: str) -> None:
        """Ask once, for what has not arrived."""
        offset, validator = self._known()
        headers = {"Range": f"bytes={offset}-", "If-Range": validator} if offset else {}
        with client.stream("GET", url, headers=headers, follow_redirects=True) as response:
            if response.status_code == 416:
                if response.headers.get("Content-Range") == f"bytes */{offset}":
                    return  # all of it came before, and only the end of the work was missing
                self._drop()  # it is no part of what is there now
                raise Again(FetchError(f"{shown}: the server no longer has the version that came in part"), wait=0.0)
            web.check_status(shown, response, 200, 206)
            resumed = response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
            if response.status_code == 206 and not resumed:
                self._drop()
                raise Again(FetchError(f"{shown}: the server sent another range than asked for"), wait=0.0)
            if response.status_code == 200:
                self._drop()
                offset = 0
                disk.write_json(self._record, {"url": url, "validator": _validator(response.headers)})
            length = response.headers.get("Content-Length", "")
            total = offset + int(length) if length.isdecimal() else None
            with self.part.open("ab") as handle:
                for block in response.iter_raw():  # nothing waits in a buffer that a break would lose
                    handle.write(block)
                    offset += len(block)
                    if self.progress is not None:
                        self.progress(self.part.stem, offset, total)
        if total is not None and offset != total:
            raise Again(FetchError(f"{shown}: {offset:,} of {total:,} bytes arrived"))

    @property
    def _record(self) -> Path:
        return self.part.with_name(f"{self.part.name}.json")

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _known(self) -> tuple[int, str]:
        """How many bytes can be built upon, and the validator of the file that they belong to."""
        try:
            validator = str(json.loads(self._record.read_bytes())["validator"])
        except (OSError, ValueError, KeyError):
            return 0, ""
        return (self._size(), validator) if validator else (0, "")

    def _drop(self) -> None:
        self.part.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)


def _validator(headers: httpx.Headers) -> str:
    """Return a validator that `If-Range` may carry: a strong ETag, else the date; empty where there is neither."""
    etag = web.validator(headers, "ETag")
    return etag if etag.startswith('"') else web.validator(headers, "Last-Modified")


def download(
    *,
    mirror: str | None = None,
    root: Path | None = None,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> tuple[Path, Path]:
    """Bring the two files into the cache, or find them there.

    Parameters
    ----------
    mirror
        URL of a folder that has both files under their names. Default: `$GENETEXT_RGC_URL`, else GEO and the public
        copy of the labels.
    root
        The cache root.
    patience, progress
        Of the download.

    Returns
    -------
    matrix, labels
        Paths of the checked files.

    Raises
    ------
    FetchError
        A file cannot be had, or is not what it was before (or, for the labels, what it should be).
    """
    mirror = mirror or os.environ.get(MIRROR)
    base = f"{mirror.rstrip('/')}/" if mirror else GEO_URL
    folder = (root or disk.cache_dir()) / "downloads" / FOLDER
    how = {"patience": patience or Patience(), "progress": progress}
    matrix = _retrieve(f"{base}{MATRIX}", MATRIX, folder, None, **how)
    # A mirror may hold labels of its own (a subset, a later version): it answers for them itself.
    at, sha256 = (f"{base}{LABELS}", None) if mirror else (LABELS_URL, LABELS_SHA256)
    return matrix, _retrieve(at, LABELS, folder, sha256, **how)


def _retrieve(
    url: str, name: str, folder: Path, sha256: str | None, *, patience: Patience, progress: Progress | None
) -> Path:
    """Let pooch bring one file; a file without a known sha256 is held to that of its first download."""
    try:
        import pooch
    except ImportError as error:
        raise FetchError("--geo needs pooch: pip install 'genetext[geo]'") from error

    record = folder / f"{name}.sha256"
    if sha256 is None and record.exists():
        sha256 = record.read_text().strip()
    pooch.get_logger().setLevel("WARNING")  # it would log the same hash that is written down below
    downloader = ResumingDownloader(folder / f"{name}.part", patience, progress)
    with locks.lock(f"download-{FOLDER}-{name}", root=folder.parents[1]), disk.writing(folder / name):
        try:
            known = f"sha256:{sha256}" if sha256 else None
            path = Path(pooch.retrieve(url, known, fname=name, path=folder, downloader=downloader))
        except ValueError as error:
            raise FetchError(
                f"{web.public(url)} is not the file it should be: its sha256 is not {sha256}. If it was replaced on "
                f"purpose, delete {record} and run again"
            ) from error
        if not record.exists():
            with disk.atomic_file(record) as handle:
                handle.write(f"{disk.sha256_file(path)}\n".encode())
    return path


def read_labels(path: Path) -> pd.DataFrame:
    """Read the authors' labels: `cell_type`, `sample`, `batch`, by the name of the cell.

    The file is a table with tabs, headed `NAME X Y Cluster Subcluster SampleID BatchID Background`, whose second line
    says of each column whether it is a number.
    """
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    if missing := [name for name in ("NAME", "Cluster") if name not in table]:
        raise FetchError(f"{path} has no column {first_ten(missing)}: it has {first_ten(list(table.columns))}")
    table = table[table["NAME"] != "TYPE"]
    labels = pd.DataFrame({"cell_type": table["Cluster"].to_numpy()}, index=_plain(table["NAME"]))
    for column, name in (("SampleID", "sample"), ("BatchID", "batch")):
        if column in table:
            labels[name] = table[column].to_numpy()
    return labels[~labels.index.duplicated()]


def read_atlas(matrix: Path, labels: Path, *, progress: Progress | None = None) -> anndata.AnnData:
    """Read the labelled cells of a matrix genes x cells, line by line, as AnnData of cells x genes.

    Parameters
    ----------
    matrix
        CSV, gzipped or not: a header with the names of the cells, then one line per gene.
    labels
        See `read_labels`. Cells without a label are left out (in the atlas, those that are no RGCs).

    Raises
    ------
    FetchError
        A line has another number of values than the header has cells, or no cell of the matrix has a label.
    """
    labelled = read_labels(labels)
    with (gzip.open if matrix.suffix == ".gz" else open)(matrix, "rt", encoding="utf-8") as handle:
        header = [name.strip('"') for name in next(handle).rstrip("\r\n").split(",")]
        cells = _plain(pd.Series(header[1:]))
        keep = np.flatnonzero(cells.isin(labelled.index))
        if not len(keep):
            raise FetchError(f"no cell of {matrix} has a label in {labels}: {first_ten(list(cells))} against others")
        genes, columns, values, sizes = [], [], [], []
        for line, text in enumerate(handle, start=2):
            gene, _, rest = text.rstrip("\r\n").partition(",")
            row = np.array(rest.split(","), dtype=np.float32) if rest else np.zeros(0, np.float32)
            if len(row) != len(cells):
                raise FetchError(
                    f"line {line} of {matrix} has {len(row):,} values for {len(cells):,} cells: truncated?"
                )
            kept = row[keep]
            at = np.flatnonzero(kept)
            genes.append(gene.strip('"'))
            columns.append(at.astype(np.int32))
            values.append(kept[at])
            sizes.append(len(at))
            if progress is not None and not line % 500:
                progress(f"{MATRIX} (reading lines)", line, None)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    by_gene = scipy.sparse.csr_matrix(
        (np.concatenate(values), np.concatenate(columns), starts), shape=(len(genes), len(keep))
    )
    obs = labelled.loc[cells[keep]].astype("category")
    adata = anndata.AnnData(scipy.sparse.csr_matrix(by_gene.T), obs=obs, var=pd.DataFrame(index=pd.Index(genes)))
    adata.uns["title"] = "adult mouse RGC atlas (Tran et al. 2019, GEO GSE133382 in GSE137400)"
    return adata


def _plain(names: pd.Series) -> pd.Index:
    """Return names of cells with `-`, which R writes as `.`."""
    return pd.Index(names.str.replace(".", "-", regex=False).to_numpy(dtype=object))
