"""The messages between the services. Imports none of our other packages."""
