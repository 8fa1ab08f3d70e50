"""From the broker's shared subscription to batches, and acknowledgements back."""
