"""Turn the equations of a page into MathML when the site is built.

Browsers draw MathML themselves, so that a page needs no script and no font from elsewhere and can be read on a machine
without a network. Equations are written `$...$` and `$$...$$`, which GitHub draws too.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.pages import Page

# What pymdownx.arithmatex makes of `$...$` and `$$...$$`.
_EQUATION = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
_LEFT_OVER = re.compile(r"<m[a-z]+>\s*(\\[A-Za-z]+|&(?!#|[a-z]+;))")
_WORDS = {r"\arg": r"\operatorname{arg}", "{aligned}": "{align*}"}
"""What the converter does not know, in words that it does."""


def on_page_content(page_html: str, *, page: Page, **_: Any) -> str:
    """Replace the equations of a page."""
    return _EQUATION.sub(lambda match: _replaced(match, page.file.src_uri), page_html)


def mathml(equation: str, *, block: bool) -> str:
    """Return an equation as a `math` element.

    Raises
    ------
    ValueError
        It is not LaTeX that can be converted whole.
    """
    for word, known in _WORDS.items():
        equation = re.sub(re.escape(word) + r"(?![A-Za-z])", known.replace("\\", r"\\"), equation)
    try:
        made = convert(equation, display="block" if block else "inline")
    except Exception as cause:  # the converter's errors have no base of their own
        raise ValueError(f"{equation!r} is no equation: {type(cause).__name__} {cause}") from cause
    if left := _LEFT_OVER.search(made):
        raise ValueError(f"{equation!r} has {left[1]}, which cannot be converted")
    return made.replace("&#x0007E;", "&#x0223C;")


def _replaced(match: "re.Match[str]", where: str) -> str:
    kind, bracket, equation = match.groups()
    try:
        made = mathml(html.unescape(equation).strip(), block=bracket == "[")
    except ValueError as cause:
        raise PluginError(f"{where}: {cause}") from cause
    return f'<{kind} class="equation">{made}</{kind}>'
