-- What TimescaleDB's policy does, but waiting for a reader's open transaction so long and no longer: all who ask for that chunk
-- wait behind it. It tries again after ten minutes, because what it has done for that chunk it has to do anew.
CREATE PROCEDURE compress_old_chunks(job_id int, config jsonb) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('lock_timeout', '10s', false); -- for all its transactions
    CALL _timescaledb_functions.policy_compression(job_id, config);
END
$$;
REVOKE EXECUTE ON PROCEDURE compress_old_chunks FROM PUBLIC;

-- It takes the place of this.
CALL remove_columnstore_policy('metrics', if_exists => true);
