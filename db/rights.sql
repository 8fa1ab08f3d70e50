-- Run at each migration of a database that is the historian's own; only a superuser can. One call by any login could take all the memory that the server has for locks,
-- fill the disk with large objects, take TimescaleDB's few workers, or make a chunk of a thousand years, which is never dropped. (Writers of the first release lock their numbers.)
-- A loop that commits in each turn uses up transaction ids, by the hundred thousand a second; WAL and notices need no table.
DO $$
DECLARE
    called regprocedure;
BEGIN
    FOR called IN
        SELECT oid::regprocedure FROM pg_proc
        WHERE proname ~ ('^(pg_(try_)?advisory_(xact_)?lock(_shared)?|lo_creat|lo_create|lo_from_bytea|add_job'
            || '|create_chunk|create_compressed_chunk|pg_logical_emit_message|txid_current|pg_current_xact_id|pg_notify)$')
          AND has_function_privilege('public', oid, 'execute')
          AND (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', called);
        IF called::text LIKE '%advisory%' THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO nexus_writer', called);
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', called, pg_get_userbyid(datdba))  -- lead_notifications()
                FROM pg_database WHERE datname = current_database();
        END IF;
    END LOOP;
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;  -- DO; functions that there are need no right to their language
        EXECUTE format('GRANT USAGE ON LANGUAGE plpgsql TO %I', pg_get_userbyid(datdba))
            FROM pg_database WHERE datname = current_database();
    END IF;
END
$$;
