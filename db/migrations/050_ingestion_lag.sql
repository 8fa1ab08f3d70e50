-- How far behind each consumer is: only it knows; the age of the newest row says how often something is read.
ALTER TABLE consumers ADD COLUMN lag float8, ADD COLUMN lag_at timestamptz;
COMMENT ON COLUMN consumers.lag IS 'Seconds from the newest reading of the last batch to its commit, or that the oldest message waits';
