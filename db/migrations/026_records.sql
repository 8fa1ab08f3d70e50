-- Old rejects and audit records go in steps, so that none holds many locks or much disk. `config` says after how many
-- days, by table; what it does not name is kept.
CREATE PROCEDURE drop_old_records(job_id int, config jsonb) LANGUAGE plpgsql AS $$
DECLARE
    most CONSTANT int := 10000;
    part record;
    gone bigint;
BEGIN
    FOR part IN SELECT key AS relation, value::int AS days FROM jsonb_each_text(config) LOOP
        LOOP
            EXECUTE format('DELETE FROM %1$I WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM %1$I WHERE time < now() - make_interval(days => $1) ORDER BY time LIMIT $2))',
                part.relation)
            USING part.days, most;
            GET DIAGNOSTICS gone = ROW_COUNT;
            COMMIT;
            EXIT WHEN gone < most;
        END LOOP;
    END LOOP;
END
$$;
DROP PROCEDURE drop_old_rejects;
REVOKE EXECUTE ON PROCEDURE drop_old_records FROM PUBLIC;
