"""Device files: read, checked as a whole, and watched for changes."""
