-- When a reject was tried again last: those that were not come first, so that incurable ones keep no others waiting.
ALTER TABLE rejects ADD COLUMN tried timestamptz;
COMMENT ON COLUMN rejects.tried IS 'When it was tried again last, and refused again';

CREATE OR REPLACE FUNCTION keep_taken_rejects(ids bigint[]) RETURNS void LANGUAGE sql SECURITY DEFINER AS $$
    UPDATE rejects SET retry = NULL, tried = now() WHERE id = ANY (ids) AND retry = 'infinity'
$$;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION keep_taken_rejects(bigint[]) SET search_path = %I, pg_temp', current_schema());
END
$$;
