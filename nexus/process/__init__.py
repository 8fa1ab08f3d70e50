"""What every process wears: settings, log, signals, health, MQTT. Knows no domain word."""
