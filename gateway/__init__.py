"""The edge daemon: polls devices, publishes every reading."""
