"""The messages between the services. Imports nothing of ours."""
