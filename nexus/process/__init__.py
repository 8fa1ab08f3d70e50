"""Shared by all processes: run, log, settings, pages, clocks, back-off. Knows nothing of the domain."""
