-- The console marks rejects that are to be tried again; ingesters, who can decode them, take those.
ALTER TABLE rejects ADD COLUMN retry timestamptz;
COMMENT ON COLUMN rejects.retry IS 'When somebody asked for it to be tried again; infinity while it is tried';
CREATE INDEX rejects_retry ON rejects (id) WHERE retry IS NOT NULL;

-- Takes some, each once: one that is refused again waits until it is asked for again.
CREATE FUNCTION take_rejects(most int)
RETURNS TABLE (id bigint, topic text, source text, tags text[], payload bytea, arrived bigint)
LANGUAGE sql SECURITY DEFINER AS $$
    WITH taken AS (
        SELECT r.id FROM rejects AS r WHERE r.retry < 'infinity' ORDER BY r.id LIMIT most FOR UPDATE SKIP LOCKED
    )
    UPDATE rejects AS r SET retry = 'infinity' FROM taken WHERE r.id = taken.id
    RETURNING r.id, r.topic, coalesce(r.source, r.topic), r.tags, r.payload, (extract(epoch FROM r.time) * 1000)::bigint
$$;

-- Of those that were taken, what is stored now goes; what is refused again stays. Writers may not touch any other.
CREATE FUNCTION drop_taken_rejects(ids bigint[]) RETURNS void LANGUAGE sql SECURITY DEFINER AS $$
    DELETE FROM rejects WHERE id = ANY (ids) AND retry = 'infinity'
$$;
CREATE FUNCTION keep_taken_rejects(ids bigint[]) RETURNS void LANGUAGE sql SECURITY DEFINER AS $$
    UPDATE rejects SET retry = NULL WHERE id = ANY (ids) AND retry = 'infinity'
$$;

DO $$
DECLARE
    called regprocedure;
BEGIN
    FOREACH called IN ARRAY
        ARRAY['take_rejects(int)', 'drop_taken_rejects(bigint[])', 'keep_taken_rejects(bigint[])']::regprocedure[]
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', called, current_schema());
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION take_rejects, drop_taken_rejects, keep_taken_rejects FROM PUBLIC;
GRANT EXECUTE ON FUNCTION take_rejects, drop_taken_rejects, keep_taken_rejects TO nexus_writer;
GRANT UPDATE (retry) ON rejects TO nexus_console;
