"""Shared by all processes: run, log, settings, pages, clocks, back-off. Knows no domain word."""
