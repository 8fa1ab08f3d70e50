"""Device files through the broker: read, checked, changed and rolled back."""
