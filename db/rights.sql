-- Run at each migration of a database that is the historian's own; only a superuser can. One call by any login could take all the memory that the server has for locks,
-- fill the disk with large objects, or take TimescaleDB's few workers. (Writers of the first release lock their numbers.)
DO $$
DECLARE
    called regprocedure;
BEGIN
    FOR called IN
        SELECT oid::regprocedure FROM pg_proc
        WHERE proname ~ '^(pg_(try_)?advisory_(xact_)?lock(_shared)?|lo_creat|lo_create|lo_from_bytea|add_job)$'
          AND has_function_privilege('public', oid, 'execute')
          AND (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', called);
        IF called::text LIKE '%advisory%' THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO nexus_writer', called);
        END IF;
    END LOOP;
END
$$;
