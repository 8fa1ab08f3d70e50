"""What spares days on site: one-shot tools that use the drivers without a gateway, and give lines of text."""
