"""What travels between the services. Imports nothing of ours."""
