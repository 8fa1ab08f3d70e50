-- Nothing is dropped by itself here; how old readings may be is for the ingester's settings.
CREATE FUNCTION kept_from() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT NULL::timestamptz $$;
