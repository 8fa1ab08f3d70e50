"""Devices are polled: when, how long to rest after trouble, and what is worth sending."""
