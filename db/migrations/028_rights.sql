-- What runs with the owner's rights looks for its tables in named schemas only, and in the caller's temporary one last:
-- else whoever calls it could put a view of the same name there, and have its functions run as the owner.
DO $$
DECLARE
    called regprocedure;
BEGIN
    FOR called IN
        SELECT oid::regprocedure FROM pg_proc
        WHERE proname IN ('conflicting', 'days_not_rolled_up') AND prosecdef AND pronamespace = current_schema()::regnamespace
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', called, current_schema());
    END LOOP;
    -- Jobs are the owner's. Others may not even have TimescaleDB run them: each run takes one of its few workers.
    FOR called IN
        SELECT oid::regprocedure FROM pg_proc
        WHERE proname IN ('merge_late', 'drop_old_chunks', 'refresh_day', 'refresh_range')
          AND pronamespace = current_schema()::regnamespace
    LOOP
        EXECUTE format('REVOKE EXECUTE ON PROCEDURE %s FROM PUBLIC', called);
    END LOOP;
END
$$;
