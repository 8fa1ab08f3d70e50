"""What every driver promises."""
