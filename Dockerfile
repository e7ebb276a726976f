# One image for every process of Pilothouse; the command says which (docker-compose.yml, deploy/).
FROM node:24-slim AS assets
WORKDIR /app
COPY package.json .
COPY package-lock.json .
RUN npm ci --ignore-scripts --no-audit --no-fund

FROM python:3.11-slim-bookworm AS build
WORKDIR /app
COPY requirements.txt .
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --require-hashes -r requirements.txt
COPY manage.py ./
COPY dashboard dashboard
COPY deployments deployments
COPY templates templates
COPY --from=assets /app/node_modules/uplot/dist/uPlot.iife.min.js /app/node_modules/uplot/dist/uPlot.min.css \
     /app/node_modules/uplot/LICENSE dashboard/static/vendor/uplot/
# SQLite stands in for the database here: collecting files needs none, and no secret enters the image.
RUN VAR_DIR=/tmp/build DATABASE_URL=sqlite:////tmp/build/none.sqlite3 \
    /opt/venv/bin/python manage.py collectstatic --no-input \
    && mv /tmp/build/static /app/static \
    && rm -rf /tmp/build \
    && /opt/venv/bin/python -m compileall -q manage.py dashboard deployments

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/pilothouse pilothouse \
    && install -d -o pilothouse -g pilothouse /var/lib/pilothouse
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    VAR_DIR=/var/lib/pilothouse \
    STATIC_ROOT=/app/static \
    LOG_FORMAT=json
USER 10001
EXPOSE 8000
# TLS ends at the proxy in front; an open stream would hold the server back without the timeout.
CMD ["uvicorn", "dashboard.asgi:application", "--host", "0.0.0.0", "--port", "8000", \
     "--lifespan", "off", "--no-server-header", "--no-access-log", "--timeout-graceful-shutdown", "3"]
