-- Nothing is dropped here by itself: all is kept.
CREATE OR REPLACE FUNCTION kept_from() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT NULL::timestamptz $$;
