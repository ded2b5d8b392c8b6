"""Read "Returns" sections that say in a sentence what comes back; its type stands in the signature.

numpydoc's parsers take the first line of an entry for a type. A section without indented lines is prose here, and gets
the type that the function is annotated with.
"""

import re
from textwrap import indent
from typing import Any

from griffe import Extension, Function, Object

_SECTION = re.compile(r"(^(?:Returns|Yields)\n-{3,}\n)(.+?)(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)


class ProseReturns(Extension):
    """Give sentences in "Returns" sections the type of the signature."""

    def on_function(self, *, func: Function, **_: Any) -> None:
        """Rewrite the docstring of a function, before it is parsed."""
        self._rewrite(func, func.returns)

    def _rewrite(self, documented: Object, annotation: Any) -> None:
        if documented.docstring is None or annotation is None:
            return

        def typed(match: "re.Match[str]") -> str:
            heading, body = match.groups()
            if re.search(r"^\s", body, re.MULTILINE):
                return match[0]
            return f"{heading}{annotation}\n{indent(body, '    ')}"

        documented.docstring.value = _SECTION.sub(typed, documented.docstring.value)
