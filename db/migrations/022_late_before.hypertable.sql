-- Nothing is late here. Who connects while the database is restored sees no hypertables, to the connection's end: rows
-- would be lost, and the ingester asks here before it writes any.
CREATE OR REPLACE FUNCTION late_before() RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF current_setting('timescaledb.restoring', true) = 'on' THEN
        RAISE EXCEPTION USING ERRCODE = 'cannot_connect_now', MESSAGE = 'the database is being restored';
    END IF;
    RETURN NULL;
END
$$;
