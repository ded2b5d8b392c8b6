"""Write the reference of the commands from the commands themselves: what `--help` shows, and nothing else."""

from collections.abc import Iterator, Sequence
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGE = "reference/commands.md"
_INTRO = """# Commands

Made from the commands' own `--help` when this site is built. Data go to stdout, progress and reports to stderr. Exit
status 0: done; 1: failed, with one sentence; 2: wrong usage, found before any work starts; 130: stopped by Ctrl-C.
Options of `genetext` itself (`--debug`, `--version`) stand before the command.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page to the site."""
    files.append(File.generated(config, PAGE, content=page()))
    return files


def page() -> str:
    """Return the page: a section for the program and one for each command, in the order of `genetext --help`."""
    return "\n".join([_INTRO, *(_section(context) for context in commands())])


def commands() -> Iterator[Any]:
    """Yield the contexts of the program, of its commands and of their subcommands."""
    import typer

    from genetext.cli import app

    def walk(name: str, command: Any, parent: Any) -> Iterator[Any]:
        context = command.make_context(name, [], parent=parent, resilient_parsing=True)
        yield context
        for inner_name, inner in _inner(context).items():
            yield from walk(inner_name, inner, context)

    return walk("genetext", typer.main.get_command(app), None)


def options(context: Any) -> list[Any]:
    """Return the arguments and options of a command that `--help` shows."""
    return [parameter for parameter in context.command.get_params(context) if not getattr(parameter, "hidden", False)]


def _inner(context: Any) -> dict[str, Any]:
    command = context.command
    names = command.list_commands(context) if hasattr(command, "list_commands") else []
    inner = {name: command.get_command(context, name) for name in names}
    return {name: each for name, each in inner.items() if not each.hidden}


def _section(context: Any) -> str:
    path, command, shown = context.command_path, context.command, options(context)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    anchor = path.replace(" ", "-")
    parts = [f"## {path} {{#{anchor}}}", "", _prose(command.help), "", "```console", f"$ {usage}", "```", ""]
    if inner := _inner(context):
        links = [
            (f"[`{name}`](#{anchor}-{name})", _cell(command.get_short_help_str(limit=300)))
            for name, command in inner.items()
        ]
        parts += _table(("command", "what it does"), links)
    for kind, heading in (("argument", "argument"), ("option", "option")):
        rows = [_row(parameter, context) for parameter in shown if parameter.param_type_name == kind]
        if rows:
            parts += _table((heading, "value", "default", "what it says"), rows)
    return "\n".join(parts)


def _row(parameter: Any, context: Any) -> tuple[str, str, str, str]:
    if parameter.param_type_name == "argument":
        name = f"`{parameter.name}`"
    else:
        name = ", ".join(f"`{word}`" for word in (*parameter.opts, *parameter.secondary_opts))
    value = "" if getattr(parameter, "is_flag", False) else _code(_value(parameter, context))
    default = "required" if parameter.required else _code(_default(parameter))
    return name, value, default, _cell(parameter.help or "")


def _value(parameter: Any, context: Any) -> str:
    text = parameter.metavar or str(parameter.display_type(context)).strip("<>").split(" range")[0]
    if text.startswith("list["):
        text = f"{text.removeprefix('list[').removesuffix(']')}, again for each"
    low, high = parameter.min, parameter.max
    if low is None and high is None:
        return text
    bounds = f"{low} to {high}" if None not in (low, high) else f"{low} or more" if high is None else f"{high} or less"
    return f"{text}, {bounds}"


def _default(parameter: Any) -> str:
    if (
        parameter.default is None
        or parameter.default is False
        or parameter.default in ((), [])
        or not parameter.show_default
    ):
        return ""
    if parameter.secondary_opts:
        return str((parameter.opts if parameter.default else parameter.secondary_opts)[0])
    return str(parameter.default)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def _prose(text: str | None) -> str:
    paragraphs = (text or "").replace("\f", "").strip().split("\n\n")
    return "\n\n".join(_cell(paragraph) for paragraph in paragraphs)


def _cell(text: str) -> str:
    """Return help as Markdown that shows it letter by letter."""
    for letter in "\\`*_<|[$":
        text = text.replace(letter, f"\\{letter}" if letter != "<" else "&lt;")
    return " ".join(text.split())


def _code(text: str) -> str:
    return f"`{text}`" if text else ""
