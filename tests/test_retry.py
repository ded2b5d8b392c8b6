"""How long to wait after an answer, whatever a server writes into its headers."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genetext.retry import LONGEST, backoff, wait_asked

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", None),
        ("17", 17.0),
        (" 0.5 ", 0.5),
        ("soon", None),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("\u0663", None),  # a digit of another script
        ("17, 18", None),
        ("9" * 400, LONGEST),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW + timedelta(days=4000), usegmt=True), LONGEST),
        ("Sat, 28 Nov 2026 09:00:30", 30.0),  # without a zone: UTC
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("Mon, 99 Foo 2026 99:99:99 GMT", None),
        ("Fri, 31 Dec 2026 23:59:59 +999999999999", None),
    ],
)
def test_what_servers_ask(value, seconds):
    assert wait_asked({"Retry-After": value}, now=NOW) == seconds
    assert wait_asked(httpx.Headers([(b"retry-after", value.encode())]), now=NOW) == seconds


def test_milliseconds_go_first_where_they_can_be_read():
    assert wait_asked(httpx.Headers({"Retry-After-Ms": "300", "retry-after": "2"})) == 0.3
    assert wait_asked({"retry-after-ms": "x", "Retry-After": "2"}) == 2
    assert wait_asked({}) is None


DATES = st.from_regex(r"\A(Mon, )?\d{1,3} (Jan|Feb|Dec|x) \d{1,6} \d{1,3}:\d{1,3}(:\d{1,3})?( [+-]?\w{0,12})?\Z")


@given(st.text() | st.integers().map(str) | st.floats().map(repr) | DATES)
def test_any_header_gives_a_wait_that_can_be_slept_or_none(value):
    wait = wait_asked({"Retry-After": value, "retry-after-ms": value})
    assert wait is None or 0 <= wait <= LONGEST


@given(st.integers(1, 10**6))
def test_waits_double_up_to_the_longest(failures):
    assert backoff(1, first=0.5, longest=60) == 0.5
    assert backoff(failures, first=0.5, longest=60) <= backoff(failures + 1, first=0.5, longest=60) <= 60
