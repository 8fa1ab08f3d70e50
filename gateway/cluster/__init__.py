"""Gateways of one group: who is there, who polls what, and what keeps two from one device."""
