"""Logging in: the throttle, and where a login may lead."""

from __future__ import annotations

import pytest

from cronq.web.auth import is_loopback
from cronq.web.enter import Throttle, own_path


def test_an_address_that_failed_often_waits_until_its_oldest_failure_is_old() -> None:
    throttle = Throttle(3, 60.0)
    for at in (100.0, 110.0, 120.0):
        assert throttle.wait_s("a", at) == 0.0
        throttle.fail("a", at)

    assert throttle.wait_s("a", 130.0) == 30.0
    assert throttle.wait_s("b", 130.0) == 0.0
    assert throttle.wait_s("a", 160.0) == 0.0


@pytest.mark.parametrize("wanted", ["/", "/job/7", "/?q=a%20b", "/job/7#runs"])
def test_a_path_of_ours_is_kept(wanted: str) -> None:
    assert own_path(wanted) == wanted


@pytest.mark.parametrize(
    "wanted", ["", "job/7", "//evil", "/\\evil", "https://evil", "/\nx", "/\t/evil", "/" * 2_000]
)
def test_any_other_leads_to_the_first_page(wanted: str) -> None:
    assert own_path(wanted) == "/"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("0.0.0.0", False),
        ("127.1", False),
        ("0x7f000001", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_loopback_is_told_by_the_address_alone(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected
