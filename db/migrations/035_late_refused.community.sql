-- Texts of some 200 MB, which compress to nothing, would stop merging for good; no message is that long.
ALTER TABLE metrics_late ADD CHECK (octet_length(value_str) <= 16000000 AND octet_length(unit) <= 16000000) NOT VALID;

-- A late row in our own format of messages, as a reject keeps it: of a megabyte, the first.
CREATE FUNCTION late_payload(late metrics) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT substring(convert_to((jsonb_strip_nulls(jsonb_build_object('u', left(late.unit, 1000000)))
        || jsonb_build_object('ts', round(extract(epoch FROM late.time) * 1000)::bigint, 'q', late.quality, 'v',
               CASE WHEN late.value_str IS NULL THEN to_jsonb(late.value)
                    WHEN late.value IS NULL OR late.value_str !~ '^-?\d{1,255}$'
                        THEN to_jsonb(left(late.value_str, 1000000))
                    ELSE to_jsonb(late.value_str::numeric) END))::text, 'UTF8') FROM 1 FOR 1000000)
$$;

-- Sets aside rows that are in the table with another value; those with the same are repetitions. So many a day: rejects
-- must not fill the disk that the readings need.
CREATE OR REPLACE FUNCTION set_conflicts_aside(came metrics[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    most_a_day CONSTANT int := 100000;
    said CONSTANT text := 'the same topic has another value at the same time already';
    earliest CONSTANT timestamptz := (SELECT min(time) FROM unnest(came));
    latest CONSTANT timestamptz := (SELECT max(time) FROM unnest(came));
    room int;
BEGIN
    SELECT most_a_day - count(*) INTO room FROM rejects WHERE reason = said AND time > now() - INTERVAL '1 day';
    INSERT INTO rejects (topic, payload, reason, tags, key)
    SELECT topic, payload, said, '{}', md5(convert_to(topic || chr(1), 'UTF8') || payload)::uuid FROM (
        SELECT late.topic, late_payload(late)
        FROM unnest(came) AS late
        JOIN metrics AS stored ON stored.topic = late.topic AND stored.time = late.time
        WHERE stored.time >= earliest AND stored.time <= latest
          AND (stored.value, stored.value_str, stored.quality)
              IS DISTINCT FROM (late.value, late.value_str, late.quality)
        LIMIT greatest(0, room)
    ) AS conflicts (topic, payload)
    ON CONFLICT DO NOTHING;
END
$$;

-- Sets aside a late row of a range that the table refuses, and the reason.
CREATE FUNCTION set_refused_aside(start timestamptz, stop timestamptz, why text) RETURNS void LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM metrics_late
        WHERE ctid = (SELECT ctid FROM metrics_late WHERE time >= start AND time < stop LIMIT 1)
        RETURNING time, topic, value, value_str, quality, unit
    )
    INSERT INTO rejects (topic, payload, reason, tags)
    SELECT topic, late_payload(ROW(time, topic, value, value_str, quality, unit)::metrics),
           left('the database refused it: ' || why, 500), '{}'
    FROM gone
$$;

-- Moves late rows of a range of time to where they belong. Of what is there already, only another value is of interest.
-- Gives false where something is in the way: then with fewer rows, down to one, which is set aside if it is that row.
DROP FUNCTION bring_home(timestamptz, timestamptz, int);
CREATE FUNCTION bring_home(start timestamptz, stop timestamptz, most int) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    others metrics[];
BEGIN
    WITH moved AS (
        DELETE FROM metrics_late
        WHERE ctid = ANY (ARRAY(SELECT ctid FROM metrics_late WHERE time >= start AND time < stop LIMIT most))
        RETURNING time, topic, value, value_str, quality, unit
    ), stored AS (
        INSERT INTO metrics (time, topic, value, value_str, quality, unit)
        SELECT time, topic, value, value_str, quality, unit FROM moved
        ORDER BY topic, time
        ON CONFLICT DO NOTHING
        RETURNING time, topic, value, value_str, quality, unit
    )
    SELECT array_agg(ROW(time, topic, value, value_str, quality, unit)::metrics) INTO others
    FROM (TABLE moved EXCEPT TABLE stored) AS others;
    IF others IS NOT NULL THEN
        PERFORM set_conflicts_aside(others);
    END IF;
    RETURN true;
EXCEPTION WHEN OTHERS THEN
    IF most = 1 THEN
        -- Data, constraints, limits and triggers; anything else is not the row's fault.
        IF left(SQLSTATE, 2) NOT IN ('22', '23', '54') AND SQLSTATE NOT IN ('P0001', 'XX000') THEN
            RAISE;
        END IF;
        PERFORM set_refused_aside(start, stop, SQLERRM);
    END IF;
    RETURN most = 1;
END
$$;

-- Brings late rows home, and refreshes what they touched. A transaction marks all from its first row to its last to be
-- refreshed: so it takes a day whole where that costs less than another call, and elsewhere only minutes that are close
-- together. Times are cut by UTC, as the aggregates are, whatever the time zone of the server.
CREATE OR REPLACE PROCEDURE merge_late(job_id int DEFAULT NULL, config jsonb DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
    most int := 50000;
    few CONSTANT int := 10000; -- readings are aggregated in the time that one more call takes
    day timestamptz;
    start timestamptz;
    stop timestamptz;
    until timestamptz;
    pause interval;
    part record;
BEGIN
    LOOP
        SELECT time_bucket('1 day', min(time)), time_bucket('1 minute', min(time)) INTO day, start FROM metrics_late;
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
        INSERT INTO late_ranges VALUES (start, stop);
        most := CASE WHEN bring_home(start, stop, most) THEN least(50000, most * 4) ELSE greatest(1, most / 8) END;
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
END
$$;
