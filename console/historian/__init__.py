"""What the historian holds, as people ask for it: tags, last values, history, exports."""
