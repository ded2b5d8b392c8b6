"""The one gate before gene texts are sent to a paid encoder, which itself refuses to send any that did not pass it.

Queries pass beside it: one costs a millionth of a cent, and whoever searches an index of a paid encoder asks for that.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from genetext.encoders.base import Cost, Encoder
from genetext.errors import CostLimit, EncoderError

Confirm = Callable[[Cost], bool]
"""Called with what the texts that are not in the store would cost; returns whether to go on, or raises to stop."""


@dataclass(frozen=True, kw_only=True)
class Payment:
    """What a paid encoder may be sent, and by which way. As it is by default, nothing.

    Attributes
    ----------
    confirm
        True, or a function that is shown the cost and answers. False: only what `max_cost` allows.
    max_cost
        USD that must not be exceeded; where the price is not known, nothing is sent. Alone, it confirms what is below.
    batch_api
        Send texts through the provider's batch service: cheaper, up to a day.
    offline
        Send nothing at all.
    """

    confirm: bool | Confirm = False
    max_cost: float | None = None
    batch_api: bool = False
    offline: bool = False


@contextmanager
def confirmed(encoder: Encoder, texts: Sequence[str], payment: Payment, *, under_way: int = 0) -> Iterator[None]:
    """Let `texts` be sent to a paid encoder within the `with` block, if they may.

    Parameters
    ----------
    encoder
        The encoder.
    texts
        Those that have no vector yet.
    payment
        What was allowed.
    under_way
        How many of them are in batches that are under way.

    Raises
    ------
    CostLimit
        It was not confirmed, or costs more than is allowed. Nothing was sent.
    EncoderError
        Offline, or there is no key.
    """
    if payment.offline:
        raise EncoderError(
            f"offline, and {len(texts):,} texts have no vector by {encoder.spec.model} yet: build once where there is "
            "a network, with the same GENETEXT_CACHE"
        )
    if not payment.confirm and payment.max_cost is None:
        encoder.refuse_unconfirmed(len(texts))
    encoder.check_access()
    cost = replace(encoder.estimate(texts, batch=payment.batch_api), under_way=under_way)
    if payment.max_cost is not None and not (cost.usd is not None and cost.usd <= payment.max_cost):
        raise CostLimit(f"{cost}; allowed are ${payment.max_cost:.2f}. Nothing was sent.")
    if callable(payment.confirm) and not payment.confirm(cost):
        raise CostLimit(f"not confirmed: {cost}. Nothing was sent.")
    before, encoder.confirmed = encoder.confirmed, True
    try:
        yield
    finally:
        encoder.confirmed = before
