-- One reject a message: where only some of its tags are refused, these are named. An empty list marks a row that was
-- refused by itself: its payload is in our own format, whatever decoder its topic has.
ALTER TABLE rejects ADD COLUMN tags text[];
COMMENT ON COLUMN rejects.tags IS 'The refused tags of a message of which others are stored; empty for a single row';
COMMENT ON COLUMN rejects.time IS 'When it arrived';
