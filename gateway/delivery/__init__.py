"""From a scan to a committed row: live messages, the spool, receipts, and what is sent again."""
