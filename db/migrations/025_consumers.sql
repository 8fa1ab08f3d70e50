-- Which consumer has which number of its group. It is taken while the holder's connection lives: the server lists that by
-- login and application name, and under another login nobody can stand in for it. An advisory lock would do the same, but
-- whoever may connect may take any of those.
CREATE TABLE consumers (
    consumer_group text NOT NULL,
    number      int  NOT NULL,
    login       oid  NOT NULL,
    application text NOT NULL,
    PRIMARY KEY (consumer_group, number)
);
COMMENT ON TABLE consumers IS 'The number of each consumer in its group; taken while its connection is open';

-- Gives the number wanted, or the lowest that is free; NULL if there is none. Whose it is already, may ask again.
CREATE FUNCTION claim_number(of_group text, wanted int, most int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    me CONSTANT text := current_setting('application_name');
    found int;
BEGIN
    SELECT number INTO found FROM consumers WHERE consumer_group = of_group AND number = wanted AND application = me;
    IF found IS NOT NULL THEN
        RETURN found;
    END IF;
    LOCK TABLE consumers IN SHARE ROW EXCLUSIVE MODE;
    SELECT min(free) INTO found
    FROM generate_series(coalesce(wanted, 0), coalesce(wanted, most - 1)) AS free
    WHERE NOT EXISTS (
        SELECT 1 FROM consumers
        JOIN pg_stat_activity AS live ON live.usesysid = login AND live.application_name = application
        WHERE consumer_group = of_group AND number = free AND application <> me
    );
    IF found IS NOT NULL THEN
        INSERT INTO consumers (consumer_group, number, login, application)
        SELECT of_group, found, usesysid, me FROM pg_stat_activity WHERE pid = pg_backend_pid()
        ON CONFLICT (consumer_group, number) DO UPDATE SET login = excluded.login, application = excluded.application;
    END IF;
    RETURN found;
END
$$;

REVOKE EXECUTE ON FUNCTION claim_number FROM PUBLIC;
GRANT EXECUTE ON FUNCTION claim_number TO nexus_writer;
GRANT SELECT, INSERT, UPDATE ON consumers TO nexus_writer;
