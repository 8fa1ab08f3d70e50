"""OPC UA: by subscription, or polled in batches."""
