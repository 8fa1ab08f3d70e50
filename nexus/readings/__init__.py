"""What is made of readings: derived tags, totals, and which of them are worth sending. Pure."""
