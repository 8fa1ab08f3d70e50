-- A message that is delivered twice is stored once.
CREATE UNIQUE INDEX metrics_topic_time ON metrics (topic, time);
