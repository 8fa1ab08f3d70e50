"""Writes over MQTT: read strictly, confirmed, answered and recorded."""
