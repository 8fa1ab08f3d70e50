-- One reject a message: where only some of its tags are refused, these are named.
ALTER TABLE rejects ADD COLUMN tags text[];
COMMENT ON COLUMN rejects.tags IS 'The refused tags of a message of which others are stored';
COMMENT ON COLUMN rejects.time IS 'When it arrived';
