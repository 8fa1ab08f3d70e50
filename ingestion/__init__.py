"""The ingester: stores what arrives on the broker's shared subscription in the historian."""
