"""From a scan to a committed row: live messages, the spool, receipts, and the replay."""
