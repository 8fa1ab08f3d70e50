-- What cannot be stored is kept once, however often it is delivered.
ALTER TABLE rejects ADD COLUMN key uuid;
CREATE UNIQUE INDEX rejects_key ON rejects (key);
COMMENT ON COLUMN rejects.key IS 'The same for repetitions; none where nobody can tell, or while it is tried again';
