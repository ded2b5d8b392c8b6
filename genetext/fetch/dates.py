"""Dates as servers tell them."""

from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cache


@cache
def day(last_modified: str) -> str:
    """Return an HTTP date as YYYY-MM-DD, or an empty string for what is none."""
    try:
        return parsedate_to_datetime(last_modified).astimezone(UTC).date().isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):  # the parser's own, for dates that are none
        return ""
