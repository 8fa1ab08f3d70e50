"""From the broker's shared subscription to batches; acknowledgements and receipts back."""
