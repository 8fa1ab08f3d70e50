"""Simulated devices: real servers on real sockets, for the demo, the tests and dry runs."""
