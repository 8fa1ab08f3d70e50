"""What the broker says now: devices, gateways and values, for those who look."""
