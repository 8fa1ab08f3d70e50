"""The metrics of devices: one line a device and metric, for as long as the device is polled."""

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.registry import Collector

from gateway import metrics


def page(device: str) -> dict[str, float]:
    lines = generate_latest(metrics.registry).decode().splitlines()
    mark = f'{{device="{device}"}}'
    return {line.partition("{")[0]: float(line.rpartition(" ")[2]) for line in lines if mark in line}


def test_a_device_has_all_its_metrics_until_it_is_forgotten() -> None:
    own = metrics.device("press 7")
    own.readings += 20
    own.bad_readings += 3
    own.failures += 2
    own.missed += 1
    own.openings += 4
    own.expression_faults += 5
    own.scan_seconds, own.breaker = 0.25, 2
    metrics.device("press 8").readings += 1
    assert metrics.device("press 7") is own
    assert page("press 7") == {
        "nexus_gateway_readings_total": 20,
        "nexus_gateway_bad_readings_total": 3,
        "nexus_gateway_device_failures_total": 2,
        "nexus_gateway_ticks_missed_total": 1,
        "nexus_gateway_scan_seconds": 0.25,
        "nexus_gateway_breaker_state": 2,
        "nexus_gateway_breaker_openings_total": 4,
        "nexus_gateway_expression_faults_total": 5,
    }
    metrics.forget("press 7")
    assert page("press 7") == {}
    assert page("press 8")["nexus_gateway_readings_total"] == 1
    metrics.forget("press 8")


def test_types_are_those_of_counters_and_gauges() -> None:
    text = generate_latest(metrics.registry).decode()
    assert "# TYPE nexus_gateway_readings_total counter" in text
    assert "# TYPE nexus_gateway_breaker_state gauge" in text


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.0011, 0.3, 5.0, 7.0])
def test_lateness_is_the_histogram_that_the_library_would_make(seconds: float) -> None:
    registry = CollectorRegistry()
    name = "nexus_gateway_lateness_seconds"
    theirs, ours = Histogram(name, "late", buckets=metrics.Lateness.BOUNDS, registry=registry), metrics.Lateness()
    for one in (theirs, ours):
        one.observe(0.02)
        one.observe(seconds)

    def samples(histogram: Collector) -> list[tuple[str, dict[str, str], float]]:
        return [(one.name, one.labels, one.value) for family in histogram.collect() for one in family.samples]

    assert samples(ours) == samples(theirs)
