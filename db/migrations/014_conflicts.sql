-- Of rows that are in the table by topic and time, those with another value there. Writers may not read the table; this
-- tells them no more than whether what they bring is what is stored.
CREATE FUNCTION conflicting(
    topics text[], times timestamptz[], numbers float8[], texts text[], qualities smallint[], units text[]
) RETURNS TABLE (topic text, "time" timestamptz, value float8, value_str text, quality smallint, unit text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT came.topic, came.time, came.value, came.value_str, came.quality, came.unit
    FROM unnest(topics, times, numbers, texts, qualities, units)
         AS came (topic, time, value, value_str, quality, unit)
    JOIN metrics AS stored ON stored.topic = came.topic AND stored.time = came.time
    WHERE stored.time >= (SELECT min(one) FROM unnest(times) AS one)
      AND stored.time <= (SELECT max(one) FROM unnest(times) AS one)
      AND (stored.value, stored.value_str, stored.quality)
          IS DISTINCT FROM (came.value, came.value_str, came.quality)
$$;

REVOKE EXECUTE ON FUNCTION conflicting FROM PUBLIC;
GRANT EXECUTE ON FUNCTION conflicting TO nexus_writer;
