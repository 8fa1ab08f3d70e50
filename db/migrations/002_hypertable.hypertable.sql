SELECT create_hypertable('metrics', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
