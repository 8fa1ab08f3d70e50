-- Nothing is compressed here, and views are never stale: nothing is late.
CREATE FUNCTION late_before() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT NULL::timestamptz $$;
