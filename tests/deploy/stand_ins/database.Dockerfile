ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN apt-get update && apt-get install --yes --no-install-recommends postgresql
# The user that TimescaleDB's image has.
RUN usermod --uid 70 postgres && groupmod --gid 70 postgres \
    && rm -rf /var/lib/postgresql && mkdir -p /var/lib/postgresql/data && chown -R 70:70 /var/lib/postgresql
COPY database.sh /database.sh
USER 70:70
STOPSIGNAL SIGINT
ENTRYPOINT ["sh", "/database.sh"]
