-- A refused late row is counted against a day's quota each time that one is set aside.
CREATE INDEX rejects_late_refused ON rejects (time) WHERE reason LIKE 'the database refused the late row: %';

-- Sets aside the late row that the table refuses, and the reason. Gives false when so many were set aside within a day that
-- it has to wait: rejects must not fill the disk that the readings need.
DROP FUNCTION set_refused_aside(timestamptz, timestamptz, text);
CREATE FUNCTION set_refused_aside(refused tid, why text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    most_a_day CONSTANT int := 100000;
BEGIN
    IF most_a_day <= (
        SELECT count(*) FROM rejects
        WHERE reason LIKE 'the database refused the late row: %' AND time > now() - INTERVAL '1 day'
    ) THEN
        RETURN false;
    END IF;
    WITH gone AS (
        DELETE FROM metrics_late WHERE ctid = refused RETURNING time, topic, value, value_str, quality, unit
    )
    INSERT INTO rejects (topic, payload, reason, tags, key)
    SELECT topic, payload, left('the database refused the late row: ' || why, 500), '{}',
           md5(convert_to(topic || chr(1), 'UTF8') || payload)::uuid
    FROM (
        SELECT topic, late_payload(ROW(time, topic, value, value_str, quality, unit)::metrics) FROM gone
    ) AS late (topic, payload)
    ON CONFLICT DO NOTHING;
    RETURN true;
END
$$;

-- Moves late rows of a range of time to where they belong. Of what is there already, only another value is of interest.
-- Gives false where something is in the way: then with fewer rows, down to one, which is set aside if it is that row.
CREATE OR REPLACE FUNCTION bring_home(start timestamptz, stop timestamptz, most int) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    others metrics[];
    -- Once: another query may choose other rows, and the one that failed is the one to set aside.
    chosen CONSTANT tid[] := ARRAY(SELECT ctid FROM metrics_late WHERE time >= start AND time < stop LIMIT most);
BEGIN
    WITH moved AS (
        DELETE FROM metrics_late WHERE ctid = ANY (chosen) RETURNING time, topic, value, value_str, quality, unit
    ), stored AS (
        INSERT INTO metrics (time, topic, value, value_str, quality, unit)
        SELECT time, topic, value, value_str, quality, unit FROM moved
        ORDER BY topic, time
        ON CONFLICT DO NOTHING
        RETURNING time, topic, value, value_str, quality, unit
    ), touched AS (
        INSERT INTO late_ranges SELECT start, stop WHERE EXISTS (TABLE stored)
    )
    SELECT array_agg(ROW(time, topic, value, value_str, quality, unit)::metrics) INTO others
    FROM (TABLE moved EXCEPT TABLE stored) AS others;
    IF others IS NOT NULL THEN
        PERFORM set_conflicts_aside(others);
    END IF;
    RETURN true;
EXCEPTION WHEN OTHERS THEN
    IF most > 1 THEN
        RETURN false;
    END IF;
    -- Data, constraints, limits and triggers; anything else is not the row's fault.
    IF left(SQLSTATE, 2) NOT IN ('22', '23', '54') AND SQLSTATE NOT IN ('P0001', 'XX000') THEN
        RAISE;
    END IF;
    RETURN set_refused_aside(chosen[1], SQLERRM);
END
$$;

-- Brings late rows home, and refreshes what they touched. A transaction marks all from its first row to its last to be
-- refreshed: so it takes a day whole where that costs less than another call, and elsewhere only minutes that are close
-- together. Times are cut by UTC, as the aggregates are, whatever the time zone of the server. Ranges with a refused row
-- that has to wait are passed over: they stay, and the job fails at its end.
CREATE OR REPLACE PROCEDURE merge_late(job_id int DEFAULT NULL, config jsonb DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
    most int := 50000;
    few CONSTANT int := 10000; -- readings are aggregated in the time that one more call takes
    day timestamptz;
    start timestamptz;
    stop timestamptz;
    until timestamptz;
    passed timestamptz := '-infinity';
    waiting timestamptz;
    pause interval;
    part record;
BEGIN
    LOOP
        SELECT time_bucket('1 day', min(time)), time_bucket('1 minute', min(time)) INTO day, start
        FROM metrics_late WHERE time >= passed;
        EXIT WHEN start IS NULL;
        pause := make_interval(mins =>
            least(1440, 1440 * few / greatest(rolled_up('metrics_1day', day, day + INTERVAL '24 hours'), 1))::int);
        IF pause = INTERVAL '24 hours' THEN
            start := day;
            stop := day + INTERVAL '24 hours';
        ELSE
            until := CASE WHEN pause < INTERVAL '1 hour' THEN time_bucket('1 hour', start) + INTERVAL '1 hour'
                          ELSE day + INTERVAL '24 hours' END;
            SELECT min(minute) + INTERVAL '1 minute' INTO stop
            FROM generate_series(start, until - INTERVAL '1 minute', INTERVAL '1 minute') AS minute
            WHERE NOT EXISTS (
                SELECT 1 FROM metrics_late
                WHERE time >= minute + INTERVAL '1 minute' AND time < minute + INTERVAL '2 minutes' + pause AND time < until
            );
        END IF;
        IF bring_home(start, stop, most) THEN
            most := least(50000, most * 4);
        ELSIF most > 1 THEN
            most := greatest(1, most / 8);
        ELSE
            waiting := coalesce(waiting, start);
            passed := stop;
        END IF;
        COMMIT;
    END LOOP;

    -- What retention has dropped cannot be computed again: older days stay as they are.
    DELETE FROM late_ranges WHERE time_bucket('1 day', first) + INTERVAL '24 hours' <= kept_from();
    COMMIT;

    -- Whole days have few readings: those that meet are one call. Other ranges never leave their day.
    FOR part IN
        SELECT DISTINCT first, after FROM late_ranges WHERE after - first < INTERVAL '24 hours'
        UNION ALL
        SELECT lower(days), upper(days) FROM (
            SELECT unnest(range_agg(tstzrange(first, after))) AS days
            FROM late_ranges WHERE after - first = INTERVAL '24 hours'
        ) AS few
        ORDER BY 1
    LOOP
        CALL refresh_range('metrics_1min', part.first, part.after, 1440);
    END LOOP;
    FOR part IN
        SELECT lower(hours) AS first, upper(hours) AS after FROM (
            SELECT unnest(range_agg(tstzrange(
                time_bucket('1 hour', first), time_bucket('1 hour', after + INTERVAL '59 minutes')))) AS hours
            FROM late_ranges
            GROUP BY CASE WHEN after - first < INTERVAL '24 hours' THEN time_bucket('1 day', first) END
        ) AS touched
        ORDER BY 1
    LOOP
        CALL refresh_range('metrics_1hour', part.first, part.after, 1440);
    END LOOP;
    FOR part IN
        SELECT lower(days) AS first, upper(days) AS after FROM (
            SELECT unnest(range_agg(tstzrange(
                time_bucket('1 day', first), time_bucket('1 day', first) + INTERVAL '24 hours'))) AS days
            FROM late_ranges
        ) AS touched
        ORDER BY 1
    LOOP
        CALL refresh_range('metrics_1day', part.first, part.after, 1440);
    END LOOP;
    DELETE FROM late_ranges;
    COMMIT;
    IF waiting IS NOT NULL THEN
        RAISE EXCEPTION 'the database refuses more than 100,000 late rows a day: some of % and later wait in metrics_late',
            waiting USING HINT = 'Why it refuses them: nexus rejects list --reason "the database refused the late row"';
    END IF;
END
$$;
