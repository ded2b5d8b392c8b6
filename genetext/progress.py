"""How long work tells its caller how far it is."""

from typing import Protocol


class Progress(Protocol):
    """Told how far the work on a file or a stage is; any function of three arguments will do."""

    def __call__(self, name: str, done: int, total: int | None, /) -> None:
        """Take note: `done` of `total` (None: nobody knows) of the file or stage `name`; bytes, texts or genes."""
