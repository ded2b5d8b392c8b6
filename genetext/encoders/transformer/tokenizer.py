"""Texts to token ids, by the tokenizer of a model's folder: within its window, framed by its special tokens."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from genetext.encoders.base import EncoderSpec
from genetext.encoders.transformer import batching, configuration
from genetext.errors import EncoderError, first_ten

Ids = NDArray[np.integer[Any]]


class Tokenizer:
    """The tokenizer of a model, loaded when it is first needed.

    Parameters
    ----------
    folder
        Of the model.
    spec
        Says how long the window is, and what becomes of longer texts.
    """

    def __init__(self, folder: Path, spec: EncoderSpec) -> None:
        self._folder, self._spec = folder, spec

    def windows(self, text: str, ids: Ids) -> list[Ids]:
        """Cut a text that is longer than the window into windows, each with the prefix before it."""
        capacity = self.capacity or len(ids)
        if not self._spec.prefix.strip():
            return batching.windows(ids, capacity)
        before, body = self.ids([self._spec.prefix, text], "")
        room = capacity - len(before)
        if room < 1:
            raise EncoderError(
                f"the prefix of {self._spec.model} has {len(before)} tokens and leaves no room for text in a window "
                f"of {self._spec.max_tokens}"
            )
        return [np.concatenate([before, window]) for window in batching.windows(body, room)]

    def framed(self, ids: Ids) -> Ids:
        """Put the special tokens before and after the ids of a text."""
        return np.concatenate([self._special[0], ids, self._special[1]])

    def ids(self, texts: Sequence[str], prefix: str) -> list[Ids]:
        """Token ids of each text, without special tokens, uncut."""
        empty = [place for place, text in enumerate(texts) if not text.strip()]
        if empty:
            raise EncoderError(f"{len(empty)} of {len(texts)} texts are empty: positions {first_ten(empty)}")
        if not texts:
            return []
        token_ids = self.table(
            [prefix + text for text in texts] if prefix else list(texts),
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
        highest = max((max(ids, default=0) for ids in token_ids), default=0)
        if self._n_known is not None and highest >= self._n_known:
            self._refuse_tokenizer(highest + 1)
        return [np.array(ids, dtype=np.uint16 if highest < 1 << 16 else np.int32) for ids in token_ids]

    def refuse_long(self, texts: Sequence[str], lengths: NDArray[np.integer[Any]]) -> None:
        """Raise where the spec refuses texts past the window, and there are any."""
        if self._spec.long_texts != "error" or self.capacity is None:
            return
        long = np.flatnonzero(lengths > self.capacity)
        if len(long):
            shown = first_ten([f"{texts[place][:40]!r} ({lengths[place]:,} tokens)" for place in long.tolist()])
            raise EncoderError(
                f"{len(long)} of {len(texts)} texts are longer than the {self.capacity} tokens of {self._spec.model}: "
                f"{shown}; choose what to do with them: truncate or window-mean"
            )

    @cached_property
    def table(self) -> Any:
        """The tokenizer of transformers."""
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(
                str(self._folder), local_files_only=True, trust_remote_code=False, **configuration.casing(self._folder)
            )
        except Exception as error:  # whatever damaged files make any of the libraries below raise
            reason = f"{type(error).__name__}: {str(error).strip()}"
            raise EncoderError(f"the tokenizer in {self._folder} cannot be loaded ({reason})") from error
        if len(tokenizer) < (self._n_known or 0) / 2:  # transformers makes an empty one where a folder has none
            self._refuse_tokenizer(len(tokenizer))
        return tokenizer

    @cached_property
    def _n_known(self) -> int | None:
        """Tokens that the model knows; None where its configuration does not say."""
        number = configuration.read_json(self._folder / "config.json").get("vocab_size")
        return number if isinstance(number, int) else None

    def _refuse_tokenizer(self, n_tokens: int) -> NoReturn:
        raise EncoderError(
            f"the tokenizer in {self._folder} has {n_tokens:,} tokens, the model {self._n_known:,}: put the "
            "files of the model's own tokenizer there (tokenizer.save_pretrained)"
        )

    @cached_property
    def _special(self) -> tuple[Ids, Ids]:
        """Special tokens that the tokenizer puts before and after a single text."""
        probe = self.table("a", return_special_tokens_mask=True)
        ids, special = np.array(probe["input_ids"]), np.array(probe["special_tokens_mask"], dtype=bool)
        body = np.flatnonzero(~special)
        first, last = (body[0], body[-1] + 1) if len(body) else (len(ids), len(ids))
        return ids[:first], ids[last:]

    @cached_property
    def capacity(self) -> int | None:
        """Tokens of a text that fit beside the special ones."""
        if self._spec.max_tokens is None:
            return None
        capacity = self._spec.max_tokens - self.n_special
        if capacity < 1:
            raise EncoderError(f"a window of {self._spec.max_tokens} tokens leaves no room for text")
        return capacity

    @cached_property
    def pad_id(self) -> int:
        """The id that fills up short rows."""
        return int(self.table.pad_token_id or 0)

    @property
    def n_special(self) -> int:
        """Special tokens of each text."""
        return len(self._special[0]) + len(self._special[1])
