ALTER TABLE metrics SET (
    timescaledb.enable_columnstore,
    timescaledb.segmentby = 'topic',
    timescaledb.orderby = 'time'
);
