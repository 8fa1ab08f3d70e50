"""Gateways of one group: who is alive, who polls what, and how no device is polled twice."""
