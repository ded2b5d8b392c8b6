"""What the documentation says is so: links lead somewhere, commands and options exist, and the snippets run."""

import importlib
import io
import os
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cli.run import genetext

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_hooks" not in path.parts)
TEXTS = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "scripts/README.md"))]
HOWTO = [*sorted((DOCS / "howto").glob("*.md")), *sorted((DOCS / "concepts").glob("*.md"))]

pytest.importorskip("mkdocs", reason="the documentation's tools are in the dependency group docs")
pytest.importorskip("latex2mathml", reason="the documentation's tools are in the dependency group docs")


def hook(name: str):
    """Import a module of docs/_hooks, as mkdocs does."""
    spec = importlib.util.spec_from_file_location(f"docs_hooks_{name}", DOCS / "_hooks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# -- code blocks -------------------------------------------------------------------------------------------------------


@dataclass
class Block:
    language: str
    lines: list[str] = field(default_factory=list)
    reason: str = ""  # why it is not run
    line: int = 0

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def blocks(path: Path) -> list[Block]:
    """Return the fenced blocks of a page; `<!-- not run: why -->` on the line above says that one is not to be run."""
    found: list[Block] = []
    inside, reason = None, ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if inside is None and (fence := re.match(r"```(\w+)", line)):
            inside = Block(fence[1], reason=reason, line=number)
            reason = ""
        elif inside is not None and line.startswith("```"):
            found.append(inside)
            inside = None
        elif inside is not None:
            inside.lines.append(line)
        elif said := re.match(r"<!-- not run: (.+) -->", line):
            reason = said[1]
        elif line.strip():
            reason = ""
    return found


def commands_of(block: Block) -> list[tuple[str, list[str]]]:
    """Return the commands of a console block, each with the lines that it is said to print."""
    commands: list[tuple[str, list[str]]] = []
    going_on = False
    for line in block.lines:
        if going_on:
            commands[-1] = (commands[-1][0] + " " + line.strip().removesuffix("\\"), [])
        elif line.startswith("$ "):
            commands.append((line[2:].removesuffix("\\"), []))
        elif commands:
            commands[-1][1].append(line)
        going_on = line.endswith("\\") and (line.startswith("$ ") or going_on)
    return commands


def prints(shown: list[str], printed: str) -> bool:
    """Whether `printed` begins with the lines shown, but for spaces; a line `...` stands for any lines."""
    lines = [" ".join(line.split()) for line in printed.splitlines() if line.strip()]
    wanted = [" ".join(line.split()) for line in shown if line.strip()]

    def fits(wanted: list[str], lines: list[str]) -> bool:
        if not wanted:
            return True
        if wanted[0] == "...":
            return any(fits(wanted[1:], lines[start:]) for start in range(len(lines) + 1))
        pattern = re.escape(wanted[0]).replace(r"\.\.\.", ".*")
        return bool(lines) and re.fullmatch(pattern, lines[0]) is not None and fits(wanted[1:], lines[1:])

    return fits(wanted, lines)


# -- running them ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with `pbmc3k.h5ad` (the real one where there are real data) and the cache of all pages."""
    folder = tmp_path_factory.mktemp("docs")
    real = Path(os.environ.get("GENETEXT_REAL_DATA", ROOT.parent / "shared" / "data")) / "cells"
    if (real / "pbmc3k_counts_labelled.h5ad").is_file():
        (folder / "pbmc3k.h5ad").symlink_to(real / "pbmc3k_counts_labelled.h5ad")
    else:
        stand_in(folder / "pbmc3k.h5ad")
    return folder


def stand_in(path: Path) -> None:
    """Write cells of three kinds with real names of genes, for machines without the real data."""
    import anndata
    import numpy as np
    import pandas as pd
    import scipy.sparse

    from genetext.species import HUMAN
    from genetext.text.facts import open_facts

    genes = open_facts(HUMAN, root=path.parent / "facts").genes
    coding = genes[genes["gene_type"] == "protein-coding"]
    coding = pd.concat([coding[coding["symbol"].isin(["CD3E", "MS4A1", "NKG7", "LYZ"])], coding.iloc[::10]])
    coding = coding.drop_duplicates("symbol")
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 3, 240)
    rates = rng.gamma(0.3, 1.0, (3, len(coding)))
    var = pd.DataFrame(
        {"gene_ids": [ids[0] if len(ids) else "" for ids in coding["ensembl_ids"]]}, coding["symbol"].to_list()
    )
    obs = pd.DataFrame(
        {"cell_type": np.array(["B cells", "NK cells", "Dendritic cells"])[kinds]}, [f"c{i}" for i in range(240)]
    )
    counts = scipy.sparse.csr_matrix(rng.poisson(rates[kinds]).astype(np.float32))
    anndata.AnnData(X=counts, obs=obs, var=var).write_h5ad(path)


def run_page(path: Path, place: Path) -> None:
    """Run the python and console blocks of a page, one after the other; compare what they print with what is shown."""
    real = (place / "pbmc3k.h5ad").is_symlink()
    names: dict[str, object] = {"__name__": "docs"}
    variables: dict[str, str] = {}
    said, reads_data = "", False
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("GENETEXT_CACHE", str(place / "cache"))
        for block in blocks(path):
            where = f"{named(path)}:{block.line}"
            reads_data = reads_data or (not block.reason and "pbmc3k.h5ad" in block.text)
            compared = real or not reads_data
            if block.reason:
                said = ""
            elif block.language == "python":
                out = io.StringIO()
                with redirect_stdout(out):
                    exec(compile("\n" * block.line + block.text, str(path), "exec"), names)
                said = out.getvalue()
            elif block.language == "text" and said:
                assert not compared or prints(block.lines, said), f"{where} is not what is printed:\n{said}"
            elif block.language == "console":
                for command, shown in commands_of(block):
                    words = shlex.split(command, comments=True)
                    if words[0] == "export":
                        variables.update(word.split("=", 1) for word in words[1:])
                        continue
                    out, err, status = run_command(command, words, place, variables)
                    assert status == 0, f"{where}: {command} ends with {status}:\n{err}"
                    fits = prints(shown, out + err) or prints(shown, err + out)
                    assert fits or not compared, f"{where}: {command} prints\n{err}{out}"


def run_command(command: str, words: list[str], place: Path, variables: dict[str, str]) -> tuple[str, str, int]:
    """Run `genetext ...` in this process, and anything else in a shell."""
    plain = words[0] == "genetext" and not {"|", ">", "&&"} & set(words)
    if plain:
        ran = genetext(place, *words[1:], **{"GENETEXT_CACHE": str(place / "cache"), **variables})
        return ran.stdout, ran.stderr, ran.returncode
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = subprocess.run(
        ["bash", "-ec", command],
        cwd=place,
        env={**os.environ, **variables, "PATH": path},
        capture_output=True,
        text=True,
    )
    return shell.stdout, shell.stderr, shell.returncode


@pytest.fixture(scope="module")
def quick_start(place):
    """The quick start, run from an empty cache: the other pages go on with the index that it builds."""
    run_page(DOCS / "quickstart.md", place)
    return place


@pytest.mark.slow
def test_the_quick_start_does_what_it_says(quick_start):
    assert (quick_start / "cache" / "indices" / "human" / "lexical").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("path", HOWTO, ids=named)
def test_pages_do_what_they_say(path, quick_start):
    run_page(path, quick_start)


def test_pages_with_snippets_run_most_of_them():
    found = [block for path in [DOCS / "quickstart.md", *HOWTO] for block in blocks(path)]
    run = [block for block in found if block.language in {"python", "console"} and not block.reason]
    left = [block for block in found if block.reason]
    assert len(run) > 2 * len(left) > 0


def test_what_is_shown_is_compared():
    assert prints(["a  b", "...", "z"], "a b\nc\nd\nz\nmore")
    assert prints(["took ... s"], "took 3.1 s")
    assert not prints(["a b"], "a c")
    assert not prints(["a", "b"], "a")


# -- commands ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def help_of():
    """Every command with its options, each with the default, as `--help` prints them."""
    import typer

    from genetext.cli import app

    found = {}
    waiting = [("genetext", typer.main.get_command(app))]
    while waiting:
        path, command = waiting.pop()
        ran = genetext(Path.cwd(), *path.split()[1:], "--help", columns="400")
        assert ran.returncode == 0, ran.stderr
        rows = re.findall(r"^│\s+\*?\s*((?:--?[a-z][\w-]*\s+)+)(.*)│$", ran.stdout, re.MULTILINE)
        found[path] = {
            word: "".join(re.findall(r"\[default: (.*?)\]", rest)) for words, rest in rows for word in words.split()
        }
        waiting += [(f"{path} {name}", one) for name, one in getattr(command, "commands", {}).items()]
    return found


def test_the_reference_has_every_command_and_option_and_no_other(help_of):
    page = hook("commands").page()
    sections = re.split(r"^## (.+?) \{#.+\}$", page, flags=re.MULTILINE)[1:]
    reference = {}
    for path, section in zip(sections[::2], sections[1::2], strict=True):
        rows = re.findall(r"^\| (`-[^|]*) \| [^|]*\| `?([^|`]*)`? \|", section, re.MULTILINE)
        reference[path] = {
            word: default.strip().replace("required", "").removeprefix("--")
            for words, default in rows
            for word in re.findall(r"`(-[^`]+)`", words)
        }
    assert reference == help_of
    assert reference["genetext search"]["-k"] == "10"


@pytest.mark.parametrize("path", TEXTS, ids=named)
def test_commands_in_pages_exist(path, help_of):
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(r"^(?:    |\$ |)(?:[A-Z_]+=\S+ )*(genetext [a-z].*)$", text, re.MULTILINE)
    found += re.findall(r"`(genetext [a-z][^`\n]*)`", text)
    for line in (part.strip() for one in found for part in one.split("&&")):
        words = line.split("#")[0].split()
        if words[0] != "genetext" or len(words) < 2 or not re.fullmatch(r"[a-z-]+", words[1]):
            continue
        command = " ".join(words[:3]) if " ".join(words[:3]) in help_of else " ".join(words[:2])
        assert command in help_of, f"{named(path)}: there is no {command!r} ({line})"
        options = {word.split("=")[0].rstrip(",;:)") for word in words[2:] if re.match(r"--?[a-z]", word)}
        unknown = options - set(help_of[command])
        assert not unknown, f"{named(path)}: {command} has no {unknown} ({line})"


# -- links -------------------------------------------------------------------------------------------------------------


def generated() -> set[str]:
    """Return the pages that exist in the site alone."""
    made = {f"docs/{hook(name).PAGE}" for name in ("commands", "texts")}
    return made | {f"docs/reference/{page}.md" for page in hook("names").PAGES}


@pytest.mark.parametrize("path", TEXTS, ids=named)
def test_links_lead_somewhere(path):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    made = {ROOT / page for page in generated()}
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link or link.startswith("mailto:"):
            continue
        target, _, anchor = link.partition("#")
        there = (path.parent / target).resolve() if target else path
        assert there in made or there.exists(), f"{named(path)} links to {link}, which is not there"
        if anchor and there.suffix == ".md" and there not in made:
            assert anchor in anchors(there), f"{named(path)} links to {link}: no such heading"


def anchors(path: Path) -> set[str]:
    from markdown.extensions.toc import slugify

    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL), re.MULTILINE
    )
    return {slugify(re.sub(r"[`*]", "", heading), "-") for heading in headings}


# -- file formats ------------------------------------------------------------------------------------------------------


def tables(path: Path) -> dict[str, str]:
    """Return the rows of a page's tables by the text of their first cell."""
    rows = re.findall(r"^\| (.+?) \| (.*) \|$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {first.strip(): rest for first, rest in rows}


def test_formats_name_every_column_of_a_snapshot():
    from genetext.text.snapshot import SCHEMAS

    rows = tables(DOCS / "formats.md")
    for name, schema in SCHEMAS.items():
        said = re.findall(r"`(\w+)`(?: (int\d+|list|bool))?", rows[f"`{name}`"])
        kinds = {field.name: str(field.type).split("<")[0] for field in schema}
        wanted = {column: "" if kind == "string" else kind for column, kind in kinds.items()}
        assert dict(said[: len(wanted)]) == wanted, name


def test_formats_name_every_column_of_an_index():
    from genetext.text.compose import COLUMNS

    text = (DOCS / "formats.md").read_text(encoding="utf-8")
    section = text.split("`genes.parquet`:")[1].split("The manifest records")[0]
    first_cells = " ".join(re.findall(r"^\| (`.+?) \|", section, re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", first_cells)) == {*COLUMNS, "row", "n_tokens", "cut"}


def test_formats_name_every_version():
    from cellmodels import storage as folder
    from cellmodels.train import checkpoint
    from genetext import index
    from genetext.text import snapshot

    rows = tables(DOCS / "formats.md")
    for module in (snapshot, index, folder, checkpoint):
        assert rows[f"`{module.FORMAT}`"].startswith(f"{module.FORMAT_VERSION} |"), module.FORMAT


@pytest.mark.parametrize("page", ["benchmarks.md", "concepts/controls.md"])
def test_figures_are_those_of_the_pages_they_link_to(page):
    """A figure that is measured anew has to be changed in one place, and is then missed here."""
    checked = 0
    for row in re.findall(r"^\|.*\|$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE):
        links = {(DOCS / page).parent / link for link in re.findall(r"\]\(([^)#\s]+\.md)", row)}
        told = "".join(path.read_text(encoding="utf-8") for path in links)
        for figure in re.findall(r"\b\d\.\d{3}\b|\b\d\d\.\d(?= %)", row) if links else []:
            assert figure in told, f"{page} says {figure}, which none of {[path.name for path in links]} does: {row}"
            checked += 1
    assert checked > 15


# -- the site ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built strictly; proxies that lead nowhere would make any download fail."""
    folder = tmp_path_factory.mktemp("site")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.mark.slow
def test_the_site_builds_without_warnings_and_has_every_public_name(site):
    reference = "\n".join(path.read_text(encoding="utf-8") for path in (site / "reference").glob("*.html"))
    names = hook("names")
    paths = {path for _, _, modules in names.PAGES.values() for module in modules for path in names.public(module)}
    assert len(paths) > 60
    assert not {path for path in paths if f'id="{path}"' not in reference}


@pytest.mark.slow
def test_every_page_is_in_the_navigation(site):
    linked = set(re.findall(r'href="([^"#]+\.html)', (site / "index.html").read_text(encoding="utf-8")))
    pages = {path.relative_to(DOCS).with_suffix(".html").as_posix() for path in PAGES}
    made = {f"reference/{page}.html" for page in hook("names").PAGES} | {
        "reference/commands.html",
        "source/CHANGELOG.html",
    }
    assert pages | made <= linked


@pytest.mark.slow
def test_the_site_needs_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe)[^>]* src="([^"]+)"|<link[^>]* href="([^"]+)"[^>]*>', text)
        outside = [one or other for one, other in loaded if re.match(r"(https?:)?//", one or other)]
        assert not outside, f"{page.relative_to(site)} loads {outside}"


@pytest.mark.slow
def test_equations_are_mathml(site):
    for page in site.rglob("*.html"):
        assert 'class="arithmatex"' not in page.read_text(encoding="utf-8"), page.relative_to(site)


@pytest.mark.parametrize(
    ("equation", "there"),
    [
        (r"\sum_{i=1}^n x_i", "<munderover>"),
        (r"\begin{aligned} a &= b \\ c &= d \end{aligned}", "<mtable"),
        (r"\arg\max_x f(x)", "<mo>arg</mo>"),
        (r"x \sim \mathcal{N}(0, 1)", "&#x0223C;"),
    ],
)
def test_an_equation_becomes_mathml(equation, there):
    assert there in hook("mathml").mathml(equation, block=True)


@pytest.mark.parametrize("equation", [r"\frac{a}{", r"\nosuchthing{x}"])
def test_what_cannot_be_converted_is_refused(equation):
    with pytest.raises(ValueError, match=re.escape(equation.split("{")[0])):
        hook("mathml").mathml(equation, block=False)
