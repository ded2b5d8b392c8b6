"""Put pages that mkdocs.yml does not name at the end of the section for their folder, so that none is left out."""

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig

SECTIONS = {"howto": "How to", "concepts": "Concepts", "models": "Models"}
"""Folder -> section; whatever lies elsewhere is a guide."""
_REST = "Guides"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Complete the navigation."""
    docs = Path(config.docs_dir)
    listed = set(_pages(config.nav))
    sections = {title: pages for entry in config.nav or [] for title, pages in entry.items()}
    for path in sorted(docs.rglob("*.md")):
        page = path.relative_to(docs)
        if page.as_posix() not in listed and page.parts[0] != "_hooks":
            sections[SECTIONS.get(page.parts[0], _REST)].append(page.as_posix())
    return config


def _pages(entry: Any) -> list[str]:
    """Return the pages of a part of the navigation."""
    if isinstance(entry, str):
        return [entry]
    return [page for inner in (entry.values() if isinstance(entry, dict) else entry or []) for page in _pages(inner)]
