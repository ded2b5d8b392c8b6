"""How long to wait before a request is sent again: what the server asks for, and what is wise where it asks nothing."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST = 7 * 24 * 3600.0
"""Seconds: longer waits than a week are not told apart, whatever number or date a server writes."""

_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")


def wait_asked(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Return the seconds that an answer asks to wait, by `retry-after-ms` or `Retry-After` (a number or an HTTP date).

    Parameters
    ----------
    headers
        Of the answer; a mapping that does not care for the case of names, as httpx has it, or one with the names as
        written here.
    now
        The present, for dates. Default: the clock's.

    Returns
    -------
    float or None
        From 0 (a date that is past) to `LONGEST`; None where the answer asks nothing that can be understood.
    """
    milliseconds = headers.get("retry-after-ms", "").strip()
    if _SECONDS.fullmatch(milliseconds):
        return min(float(milliseconds) / 1000, LONGEST)
    value = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(value):
        return min(float(value), LONGEST)
    try:
        until = parsedate_to_datetime(value)
        seconds = (until.replace(tzinfo=until.tzinfo or UTC) - (now or datetime.now(UTC))).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):  # the parser's own, for dates that are none
        return None
    return min(max(seconds, 0.0), LONGEST)


def backoff(failures: int, *, first: float, longest: float) -> float:
    """Return the seconds to wait after so many failures (from 1): `first`, doubled each time, at most `longest`."""
    return min(longest, first * 2.0 ** min(failures - 1, 60))
