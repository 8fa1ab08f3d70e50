ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN command -v mosquitto || { apt-get update && apt-get install --yes --no-install-recommends mosquitto python3 curl; }
COPY broker.py /broker.py
RUN mkdir -p /opt/emqx/data /opt/emqx/etc /run/nexus && chmod 0777 /opt/emqx/data
USER 1000:1000
STOPSIGNAL SIGKILL
ENTRYPOINT ["python3", "/broker.py"]
