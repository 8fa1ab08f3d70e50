"""Polling of devices: when to read, how long to rest after failures, and what to report."""
