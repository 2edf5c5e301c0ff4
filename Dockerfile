# Airflow with Crossfade: the wheel, the DAGs, the plans, and PostgreSQL's client programs of the target's version.
# What changes seldom comes first, so that a changed plan costs no new installation.
FROM apache/airflow:3.3.2-python3.11 AS wheel
COPY --chown=airflow:0 pyproject.toml README.md LICENSE /tmp/crossfade/
COPY --chown=airflow:0 include/crossfade /tmp/crossfade/include/crossfade
COPY --chown=airflow:0 plugins/crossfade_airflow /tmp/crossfade/plugins/crossfade_airflow
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /tmp/wheels /tmp/crossfade

FROM apache/airflow:3.3.2-python3.11

# pg_dump must be of the target's version or newer. PGDG's script sets up its repository and key; one that the base
# image may have set up already would contradict it
USER root
RUN rm -f /etc/apt/sources.list.d/pgdg.* \
    && apt-get update \
    && apt-get install -y --no-install-recommends postgresql-common \
    && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \
    && apt-get install -y --no-install-recommends postgresql-client-18 \
    && rm -rf /var/lib/apt/lists/*
USER airflow
ENV PG_BIN=/usr/lib/postgresql/18/bin

COPY requirements.txt /opt/airflow/requirements.txt
RUN pip install --no-cache-dir -r /opt/airflow/requirements.txt
RUN --mount=type=bind,from=wheel,source=/tmp/wheels,target=/tmp/wheels \
    pip install --no-cache-dir --no-deps /tmp/wheels/*.whl

# Of plugins/ only what Airflow's loader may load: the package is in the wheel
COPY --chown=airflow:0 plugins/.airflowignore plugins/crossfade_plugin.py /opt/airflow/plugins/
COPY --chown=airflow:0 dags /opt/airflow/dags
COPY --chown=airflow:0 include/migrations /opt/airflow/include/migrations
ENV CROSSFADE_PLANS=/opt/airflow/include/migrations

# A volume that is mounted here takes the directory's owner
RUN mkdir /opt/airflow/reports
ENV CROSSFADE_REPORTS=/opt/airflow/reports
