"""Write the reference of the sources of text from what each says of itself."""

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGE = "reference/sources.md"
_INTRO = """# Sources of text

Made from what each source says of itself. [The guide](../sources.md) says how they are used.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page to the site."""
    files.append(File.generated(config, PAGE, content=page()))
    return files


def page() -> str:
    """Return the page: a section for each source."""
    from genetext.sources.of_snapshot import GeneOntology, NcbiGene
    from genetext.sources.registry import all_sources

    parts = [_INTRO]
    for source in (NcbiGene(), GeneOntology(), *all_sources()):
        in_snapshot = isinstance(source, NcbiGene | GeneOntology)
        licence = f"[{source.licence.name}]({source.licence.url})" if source.licence.url else source.licence.name
        terms = f" ({source.licence.warning})" if source.licence.warning else ""
        lines = [f"## {source.name}", f"{source.title}. Licence: {licence}{terms}. Cite: {source.citation}.", ""]
        lines += [f"From <{source.url}>.", ""] if source.url else [f"From {source.place}.", ""]
        lines += ["| section | what it says |", "|---|---|"]
        lines += [
            f"| `{part if in_snapshot else f'{source.name}.{part}'}` | {says} |"
            for part, says in source.sections.items()
        ]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)
