"""Device files through the broker: shown, checked, changed, and put back."""
