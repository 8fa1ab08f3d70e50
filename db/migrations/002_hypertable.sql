-- Plain PostgreSQL: the table stays one table; a time index lets old rows be found and deleted.
CREATE INDEX metrics_time ON metrics USING brin (time);
