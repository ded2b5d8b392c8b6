"""Bring files of the repository that pages link to (examples, benchmarks, the changelog) into the site.

A page links to `../examples/custom_model.py`, which is right where the repository is read as files. The site has no
such place, so that each file linked to becomes a page of its own.
"""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ALWAYS = ("CHANGELOG.md", "CONTRIBUTING.md", "scripts/README.md")
_LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
_LANGUAGES = {".py": "python", ".md": "markdown", ".csv": "text", ".sh": "console", ".toml": "toml"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file of the repository that a page links to."""
    root = Path(config.docs_dir).parent
    wanted = set(ALWAYS)
    for file in files.documentation_pages():
        if file.abs_src_path:
            wanted |= {path for path in _linked(file.content_string, f"docs/{file.src_uri}") if _is_source(path, root)}
    for path in sorted(wanted):
        files.append(File.generated(config, f"source/{_page_of(path)}", content=_page(root, path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Point links that leave the documentation to the pages made of their files."""
    if page.file.src_uri.startswith("source/"):
        return markdown
    return _rewritten(markdown, f"docs/{page.file.src_uri}", page.file.src_uri, Path(config.docs_dir).parent)


def _linked(markdown: str, where: str) -> set[str]:
    """Return the paths, from the root of the repository, of the files that a text at `where` links to."""
    links = (link for _, link, _ in _LINK.findall(markdown) if "://" not in link and not link.startswith("mailto:"))
    return {posixpath.normpath(posixpath.join(posixpath.dirname(where), link)) for link in links}


def _is_source(path: str, root: Path) -> bool:
    return not path.startswith(("docs/", "..")) and (root / path).exists()


def _page_of(path: str) -> str:
    return path if path.endswith(".md") else f"{path}.md"


def _rewritten(markdown: str, where: str, page: str, root: Path) -> str:
    def target(match: "re.Match[str]") -> str:
        before, link, after = match.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(where), link))
        if "://" in link or not (_is_source(path, root) or path.startswith("docs/")):
            return match[0]
        inside = path.removeprefix("docs/") if path.startswith("docs/") else f"source/{_page_of(path)}"
        return f"{before}{posixpath.relpath(inside, posixpath.dirname(page) or '.')}{after}"

    return _LINK.sub(target, markdown)


def _page(root: Path, path: str) -> str:
    file = root / path
    if file.is_dir():
        listed = "\n".join(f"- `{path}/{child.name}`" for child in sorted(file.iterdir()) if child.suffix in _LANGUAGES)
        return f"# {path}\n\nIn the repository:\n\n{listed}\n"
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        return _rewritten(text, path, f"source/{path}", root)
    if file.suffix == ".ipynb":
        return _rewritten(_notebook(text, path), path, f"source/{_page_of(path)}", root)
    return f"# {path}\n\n`````{_LANGUAGES.get(file.suffix, 'text')}\n{text}`````\n"


def _notebook(text: str, path: str) -> str:
    """Return the cells of a notebook, without what they gave."""
    parts = [f"`{path}`, without its output."]
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    return "\n\n".join(parts) + "\n"
