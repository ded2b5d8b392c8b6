"""Whose text is in a thing, under which licence, of which day, and what to cite: so that licences travel with it."""

from collections.abc import Mapping, Sequence
from typing import Any

from genetext.sources.base import Licence
from genetext.sources.of_snapshot import of_sections
from genetext.text.layer import TextLayer
from genetext.text.sections import own_name
from genetext.text.snapshot import Snapshot
from genetext.text.template import Template


def notices(snapshot: Snapshot, template: Template, layers: Sequence[TextLayer]) -> list[dict[str, Any]]:
    """Return for each source of a template's sections its name, title, licence, date and citation."""
    names = {own_name(name)[0] for name in template.names}
    source = snapshot.manifest["source"]
    dates = [str(file.get("last_modified", "")) for file in source.get("files", {}).values()]
    listed = [{**_short(described.to_json()), "date": max(dates, default="")} for described in of_sections(names)]
    return listed + [
        {**_short(layer.manifest["source"]), "date": layer.manifest["source"].get("date", "")} for layer in layers
    ]


def in_words(listed: Sequence[Mapping[str, Any]]) -> str:
    """Return the notice that goes with what is made of the sources, a paragraph each."""
    paragraphs = ["The vectors or texts beside this file were made, by genetext, of text from these sources."]
    for entry in listed:
        licence = Licence(**entry["licence"])
        terms = " ".join(filter(None, (licence.name, f"({licence.warning})" if licence.warning else "", licence.url)))
        of_day = f", of {entry['date']}" if entry["date"] else ""
        paragraphs.append(f"{entry['title']}{of_day}\n  Licence: {terms}\n  Cite: {entry['citation']}")
    return "\n\n".join(paragraphs) + "\n"


def _short(source: Mapping[str, Any]) -> dict[str, Any]:
    return {key: source[key] for key in ("name", "title", "licence", "citation")}
