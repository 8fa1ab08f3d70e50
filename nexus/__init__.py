"""Nexus Edge: PLCs to MQTT to TimescaleDB."""
