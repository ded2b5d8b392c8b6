"""What an embedding server answers: taken for vectors only where it can be nothing else."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genetext.errors import EncoderError, first_ten

_MOST_TOKENS = 2**31  # what a server may count for a request and be believed


class WrongReply(EncoderError):
    """A reply came that cannot be matched with what was sent."""


def vectors(reply: Any, *, n: int, dim: int | None, model: str, host: str) -> tuple[NDArray[np.float32], int]:
    """Read a reply: the vectors in the order of what was sent, by their `index`, and the tokens that were counted.

    Parameters
    ----------
    reply
        What JSON came; None where none did. Each vector is a list of numbers, or base64 of float32 little endian.
    n, dim
        How many texts were sent, and how long vectors are; None where the reply decides.
    model, host
        For messages.

    Returns
    -------
    tuple[NDArray[np.float32], int]
        `(n, dim) float32`, and the tokens (0 where the server does not say, or cannot be believed).

    Raises
    ------
    WrongReply
        It is no list of embeddings (a page of HTML, other JSON), has too few or too many vectors, an index twice or out
        of range, or numbers that are not finite. Nothing of such a reply is used: a server that loses a text may have
        numbered the others anew.
    EncoderError
        Vectors of another length: sending again would not help.
    """
    data = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(data, list) or not all(isinstance(entry, dict) and "embedding" in entry for entry in data):
        raise WrongReply(f"what {host} sent is no list of embeddings; check OPENAI_BASE_URL")
    if len(data) != n:
        raise WrongReply(f"{n:,} texts were sent, {len(data):,} vectors came back")
    indices = [entry.get("index") if type(entry.get("index")) is int else None for entry in data]
    if set(indices) != set(range(n)):
        wrong = [index for index in indices if index is None or not 0 <= index < n or indices.count(index) > 1]
        raise WrongReply(f"the vectors are numbered {first_ten(wrong)}, each of 0 to {n - 1:,} was expected once")
    rows = [_numbers(entry["embedding"]) for entry in data]
    if dim is None:
        dim = rows[0].size if rows else 0
    if odd := [row.size for row in rows if row.shape != (dim,)]:
        raise EncoderError(
            f"{model} should give vectors of {dim} dimensions, {odd[0]} came back: name the right model, or pass "
            "the dimensions that this server gives"
        )
    matrix = np.empty((n, dim), np.float32)
    for index, row in zip(indices, rows, strict=True):
        matrix[index] = row
    if not np.isfinite(matrix).all():
        raise WrongReply(f"{int((~np.isfinite(matrix)).any(axis=1).sum()):,} vectors are not finite")
    usage = reply.get("usage")
    billed = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return matrix, billed if type(billed) is int and 0 < billed < _MOST_TOKENS else 0


def _numbers(numbers: Any) -> NDArray[np.float32]:
    try:
        if isinstance(numbers, str):
            row = np.frombuffer(base64.b64decode(numbers, validate=True), "<f4")
        elif isinstance(numbers, list) and all(type(number) in (int, float) for number in numbers):
            with np.errstate(over="ignore"):  # infinite then, which is refused with what else is not finite
                row = np.array(numbers, np.float64).astype(np.float32)
        else:
            raise WrongReply("a vector that is no list of numbers")
    except (ValueError, OverflowError) as error:
        raise WrongReply(f"a vector that cannot be read: {error}") from None
    if not row.size:
        raise WrongReply("a vector that has no numbers")
    return row
