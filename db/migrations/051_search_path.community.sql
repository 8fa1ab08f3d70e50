-- 039 defined this function anew without what 028 had set: the caller's temporary schema comes last, or whoever calls it
-- could have the owner read a view of theirs.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION days_not_rolled_up() SET search_path = %I, pg_temp', current_schema());
END
$$;
