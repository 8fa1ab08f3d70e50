-- What is set aside can be tried again, and is found by its reason.
ALTER TABLE rejects ADD COLUMN source text;
COMMENT ON COLUMN rejects.topic IS 'Topic of the value, or of the message where all of it was refused';
COMMENT ON COLUMN rejects.source IS 'Topic that the message came on, where it is another';
CREATE INDEX rejects_reason ON rejects (reason text_pattern_ops, time);

-- A job of TimescaleDB where there is one, a part of every migration where there is not.
CREATE PROCEDURE drop_old_rejects(job_id int, config jsonb) LANGUAGE sql AS $$
    DELETE FROM rejects WHERE time < now() - make_interval(days => (config->>'days')::int)
$$;
