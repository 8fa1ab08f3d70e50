-- A row a range of numbers, so that booking costs what a batch says, and not what its publisher has ever said. The ranges
-- of a publisher neither overlap nor touch. One begins at 0, which is no number: it is there for whoever books to lock.
ALTER TABLE committed RENAME TO committed_once;
ALTER INDEX committed_pkey RENAME TO committed_once_pkey;
CREATE TABLE committed (
    publisher text        NOT NULL,
    first     bigint      NOT NULL,
    last      bigint      NOT NULL,
    changed   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (publisher, first)
);
INSERT INTO committed (publisher, first, last)
SELECT publisher, lower(part), upper(part) - 1
FROM (SELECT publisher, unnest(numbers + '{[0,1)}'::int8multirange) AS part FROM committed_once) AS parts;
DROP TABLE committed_once;

COMMENT ON TABLE committed IS 'Numbers of messages that are stored, by publisher; kept in bulk mode only';
COMMENT ON COLUMN committed.changed IS 'When the range last grew';

-- The ranges that overlap what comes. Whatever the planner knows, each is looked up in the index: all else has no bound.
CREATE FUNCTION overlapping(publishers text[], firsts bigint[], lasts bigint[])
RETURNS TABLE (publisher text, first bigint, last bigint) LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    SELECT found.publisher, found.first, found.last
    FROM unnest(publishers, firsts, lasts) AS came (publisher, first, last)
    CROSS JOIN LATERAL (
        (SELECT c.* FROM committed AS c
         WHERE c.publisher = came.publisher AND c.first <= came.first ORDER BY c.first DESC LIMIT 1)
        UNION ALL
        SELECT c.* FROM committed AS c
        WHERE c.publisher = came.publisher AND c.first > came.first AND c.first <= came.last
    ) AS found
    WHERE found.last >= came.first
$$;

-- What is booked already of what comes. From here to the end of the transaction nobody else books for these publishers.
-- Writers may not read the book, which names the publishers.
CREATE FUNCTION booked(publishers text[], firsts bigint[], lasts bigint[])
RETURNS TABLE (publisher text, first bigint, last bigint)
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    names text[] := ARRAY(SELECT DISTINCT name FROM unnest(publishers) AS name ORDER BY name);
    locked bigint;
BEGIN
    INSERT INTO committed (publisher, first, last) SELECT name, 0, 0 FROM unnest(names) AS name ON CONFLICT DO NOTHING;
    SELECT count(*) INTO locked FROM (
        SELECT FROM committed AS c WHERE c.publisher = ANY (names) AND c.first = 0 ORDER BY c.publisher FOR UPDATE
    ) AS ours;
    IF locked < cardinality(names) THEN -- forgotten meanwhile
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'a publisher was forgotten meanwhile';
    END IF;
    RETURN QUERY SELECT * FROM overlapping(publishers, firsts, lasts);
END
$$;

-- Books what comes; `booked` was called before, in the same transaction.
CREATE FUNCTION book(publishers text[], firsts bigint[], lasts bigint[]) RETURNS void
LANGUAGE sql SECURITY DEFINER
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    WITH came AS (
        SELECT * FROM unnest(publishers, firsts, lasts) AS came (publisher, first, last)
    ), beside AS (
        SELECT found.* FROM (
            SELECT array_agg(publisher) AS names, array_agg(first - 1) AS before, array_agg(last + 1) AS after FROM came
        ) AS wider, overlapping(names, before, after) AS found
    ), merged AS (
        SELECT publisher, lower(part) AS first, upper(part) - 1 AS last FROM (
            SELECT publisher, unnest(range_agg(int8range(first, last, '[]'))) AS part
            FROM (SELECT * FROM came UNION ALL SELECT * FROM beside) AS parts
            GROUP BY publisher
        ) AS whole
    ), gone AS (
        DELETE FROM committed AS c USING merged AS m
        WHERE c.publisher = m.publisher AND c.first > m.first AND c.first <= m.last
    )
    INSERT INTO committed (publisher, first, last) SELECT publisher, first, last FROM merged
    ON CONFLICT (publisher, first) DO UPDATE SET last = excluded.last, changed = excluded.changed
$$;

DO $$
DECLARE
    called regprocedure;
BEGIN
    FOREACH called IN ARRAY ARRAY['booked(text[], bigint[], bigint[])', 'book(text[], bigint[], bigint[])']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', called, current_schema());
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION overlapping, booked, book FROM PUBLIC;
GRANT EXECUTE ON FUNCTION booked, book TO nexus_writer;

-- What is older than the table keeps is refused when it comes again: nothing need be known of it.
CREATE PROCEDURE forget_committed(job_id int, config jsonb) LANGUAGE sql AS $$
    DELETE FROM committed WHERE changed < now() - make_interval(days => (config->>'days')::int + 1)
$$;
REVOKE EXECUTE ON PROCEDURE forget_committed FROM PUBLIC;
