-- Roles belong to the whole server: another database of it may have made them already.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['nexus_writer', 'nexus_reader'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END
$$;

GRANT INSERT ON metrics, rejects TO nexus_writer;
GRANT SELECT ON metrics, rejects, metrics_1min, metrics_1hour, metrics_1day TO nexus_reader;
