"""How often a login may be tried, and where a request comes from."""

from ipaddress import ip_network

import pytest
from fastapi import APIRouter

from console.access.door import describe
from console.access.limits import Limit, LoginLimits, RefusalQuota
from console.access.origin import client_address, is_own_page, is_secure, network


def test_a_key_may_try_so_many_times_at_once_and_then_once_a_period() -> None:
    limit = Limit(burst=3, seconds=10)
    assert [limit.wait("a", 0.0) for _ in range(5)] == [0, 0, 0, 10, 10]
    assert limit.wait("b", 0.0) == 0
    assert limit.wait("a", 9.0) == pytest.approx(1)
    assert [limit.wait("a", 10.0), limit.wait("a", 10.0)] == [0, 10]
    assert [limit.wait("a", 1000.0) for _ in range(4)] == [0, 0, 0, 10]


def test_a_try_that_is_forgiven_counts_for_nothing() -> None:
    limit = Limit(burst=1, seconds=10)
    for _ in range(5):
        assert limit.wait("a", 0.0) == 0
        limit.forgive("a")


def test_so_many_are_remembered_and_whoever_tried_least_lately_is_forgotten() -> None:
    limit = Limit(burst=1, seconds=10, most=2)
    assert [limit.wait(key, 0.0) for key in "abc"] == [0, 0, 0]
    assert limit.wait("c", 1.0) > 0
    assert limit.wait("b", 1.0) > 0
    assert limit.wait("a", 1.0) == 0


def test_one_address_never_uses_up_the_limit_of_a_name() -> None:
    limits = LoginLimits()
    for second in range(0, 86_400, 5):
        limits.wait("203.0.113.7", "edda", None, float(second))
        assert limits.wait(f"198.51.100.{second % 250}", "otto", f"otto {second}", float(second)) == 0
    assert limits.wait("203.0.113.8", "edda", None, 86_400.0) == 0


def test_many_addresses_are_slowed_down_for_a_name_and_a_known_browser_is_not() -> None:
    limits = LoginLimits()
    waits = [limits.wait(f"198.51.100.{n}", "edda", None, 0.0) for n in range(110)]
    assert (waits[:100], waits[100]) == ([0.0] * 100, 5.0)
    assert limits.wait("198.51.100.1", "edda", "edda of before", 0.0) == 0


def test_refusals_are_recorded_while_there_are_few_and_the_rest_is_counted() -> None:
    quota = RefusalQuota()
    assert [quota.admit("a", 0.0) for _ in range(12)] == [0] * 10 + [None] * 2
    assert quota.admit("b", 0.0) == 2
    many = [quota.admit(str(n), 0.0) for n in range(1000)]
    assert sum(one is not None for one in many) == 60 - 11


PROXIES = [ip_network("10.0.0.0/8"), ip_network("::1/128")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.1", "", "203.0.113.1"),
        ("203.0.113.1", "198.51.100.1", "203.0.113.1"),  # no proxy of ours says so
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("::1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.1", "198.51.100.1"),  # what the client wrote itself
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("", "198.51.100.1", ""),
    ],
)
def test_the_client_is_the_first_address_that_is_no_proxy(peer: str, forwarded: str, address: str) -> None:
    assert client_address(peer, forwarded, PROXIES) == address


@pytest.mark.parametrize(
    ("origin", "host", "is_ours"),
    [
        ("http://127.0.0.1:8090", "127.0.0.1:8090", True),
        ("https://Plant.example", "plant.example", True),
        ("https://plant.example", "plant.example:443", True),
        ("https://seen.example", "inner:8090", True),
        ("http://127.0.0.1:8091", "127.0.0.1:8090", False),
        ("http://plant.example", "plant.example.evil", False),
        ("https://evil.example", "inner:8090", False),
        ("null", "null", False),
        ("file://", "", False),
        ("", "", False),
        ("http://[", "[", False),
    ],
)
def test_a_page_is_ours_if_it_came_from_the_host_that_is_asked(origin: str, host: str, is_ours: bool) -> None:
    assert is_own_page(origin, host, "https://seen.example", secure=False) == is_ours


def test_a_page_without_tls_is_not_ours_where_the_browser_speaks_tls_to_us() -> None:
    for origin, is_ours in (("https://plant.example", True), ("http://plant.example", False)):
        assert is_own_page(origin, "plant.example", None, secure=True) == is_ours


def test_a_cookie_is_for_tls_only_where_a_proxy_of_ours_says_so() -> None:
    assert is_secure("http", "10.0.0.1", "https", PROXIES)
    assert not is_secure("http", "203.0.113.1", "https", PROXIES)
    assert not is_secure("http", "10.0.0.1", "https, http", PROXIES)
    assert is_secure("http", "10.0.0.1", "wss", PROXIES), "of a live stream"
    assert is_secure("https", "203.0.113.1", "", PROXIES)


def test_one_subscriber_of_ipv6_is_one_for_limits() -> None:
    assert network("2001:db8::1") == network("2001:db8::ffff") != network("2001:db8:0:1::1")
    assert network("203.0.113.1") == "203.0.113.1"


def test_a_route_without_a_door_is_none() -> None:
    router = APIRouter()
    router.add_api_route("/open", lambda: None)
    with pytest.raises(AssertionError, match="/open takes 0 of"):
        describe(router)
