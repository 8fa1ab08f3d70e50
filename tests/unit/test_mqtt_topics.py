"""Topics and filters, held against another client's rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from nexus.mqtt import is_filter, matches
from nexus.mqtt.topics import packed

levels = st.sampled_from(["a", "b", "", "$sys", "ab"])
topics = st.lists(levels, min_size=1, max_size=5).map("/".join)
filters = st.lists(levels | st.just("+"), max_size=5).flatmap(
    lambda head: st.sampled_from([[], ["#"]]).map(lambda tail: "/".join([*head, *tail]))
)


@given(filters.filter(bool), topics)
def test_a_filter_speaks_of_the_topics_that_others_say_it_does(pattern: str, topic: str) -> None:
    assert matches(pattern, topic) == topic_matches_sub(pattern, topic)


@pytest.mark.parametrize("pattern", ["#", "+", "a", "a/#", "+/+", "a/+/b", "/", "$share/g/a/#"])
def test_filters(pattern: str) -> None:
    assert is_filter(pattern)


@pytest.mark.parametrize("pattern", ["", "a#", "#/a", "a/#/b", "a+", "+a/b", "a\0"])
def test_what_is_no_filter(pattern: str) -> None:
    assert not is_filter(pattern)


@given(st.lists(st.text(max_size=50), max_size=40), st.integers(20, 300))
def test_filters_are_packed_in_order_into_packets_that_a_broker_takes(patterns: list[str], most: int) -> None:
    packets = list(packed(patterns, most))
    assert [one for packet in packets for one in packet] == patterns
    assert all(len(packet) == 1 or sum(len(one.encode()) + 3 for one in packet) <= most - 5 for packet in packets)
