"""The batch service: from the broker's shared subscription into the historian."""
