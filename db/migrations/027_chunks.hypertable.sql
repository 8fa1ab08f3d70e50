-- Nothing is dropped here by itself, but a query without a time locks every chunk and its index: a device that names
-- days of long ago must not make more chunks than a quarter of the server's locks is enough for.
CREATE OR REPLACE FUNCTION kept_from() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT now() - make_interval(days => current_setting('max_locks_per_transaction')::int
        * (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int) / 8)
$$;
