# Griffel's server. Build: docker build -t griffel .   Run: see docker-compose.yml.

FROM python:3.13-slim-bookworm AS build
RUN python -m venv /opt/griffel
WORKDIR /source
COPY . .
RUN /opt/griffel/bin/pip install --no-cache-dir --disable-pip-version-check .

FROM python:3.13-slim-bookworm
# A number, so that an orchestrator can see without asking that it is not root.
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /data griffel \
    && install --directory --owner=griffel --group=griffel --mode=0700 /data
COPY --from=build /opt/griffel /opt/griffel
ENV PATH=/opt/griffel/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health/ready', timeout=4).read()"]
ENTRYPOINT ["griffel"]
CMD ["serve", "--data", "/data", "--host", "0.0.0.0", "--port", "8080"]
