-- both: what either side carries: who decides, who is fenced, and the tokens that prove zero lag
CREATE TABLE crossfade.attempt (
    id uuid PRIMARY KEY,
    plan text NOT NULL,
    direction text NOT NULL CHECK (direction IN ('forward', 'back')),
    document jsonb NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    decision text CHECK (decision IN ('commit', 'abort')),
    decided_at timestamptz,
    finished_at timestamptz
);
COMMENT ON TABLE crossfade.attempt IS 'One cutover. Its decision, taken once by compare-and-set on the old side, makes it final.';
CREATE TABLE crossfade.fence (
    database name PRIMARY KEY,
    plan text NOT NULL,
    may_connect jsonb NOT NULL,
    fenced_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN crossfade.attempt.document IS 'The plan: what an abort needs must be found on this side.';
COMMENT ON TABLE crossfade.fence IS 'Who could connect before applications were kept off: the first value seen, restored when the fence is lifted.';
CREATE TABLE crossfade.watermark (
    stream varchar(63) PRIMARY KEY,
    token bigint NOT NULL,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp()
) PARTITION BY LIST (stream);
COMMENT ON COLUMN crossfade.watermark.stream IS 'Not text: to AWS DMS that is a large object, and no key';
COMMENT ON TABLE crossfade.watermark IS 'A token per stream, written on one side and awaited on the other. One partition a stream.';

-- target: what only the target carries: the migration, its steps and what was seen
CREATE TABLE crossfade.migration (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    plan text NOT NULL,
    hash text NOT NULL,
    document jsonb NOT NULL,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'cutting over', 'cut over', 'abandoned')),
    archive bytea,
    stamp text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN crossfade.migration.archive IS 'pg_dump archive of the source''s schema, without rows';
COMMENT ON COLUMN crossfade.migration.stamp IS 'Hash of the source''s definitions when the archive was made';
CREATE UNIQUE INDEX one_migration_a_plan ON crossfade.migration (plan) WHERE state <> 'abandoned';
CREATE TABLE crossfade.step (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    migration_id uuid NOT NULL REFERENCES crossfade.migration,
    attempt_id uuid,
    ordinal integer NOT NULL DEFAULT 0,
    name text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ms double precision,
    outcome text NOT NULL DEFAULT 'running',
    detail text NOT NULL DEFAULT ''
);
COMMENT ON COLUMN crossfade.step.outcome IS 'running, done, failed or undone';
CREATE TABLE crossfade.part (
    migration_id uuid NOT NULL REFERENCES crossfade.migration,
    wave integer NOT NULL,
    schema text NOT NULL,
    name text NOT NULL,
    table_name text NOT NULL GENERATED ALWAYS AS (schema || '.' || name) STORED,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'copying', 'indexing', 'streaming')),
    rows bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (migration_id, schema, name)
);
CREATE TABLE crossfade.lag_sample (
    migration_id uuid NOT NULL REFERENCES crossfade.migration,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    bytes bigint NOT NULL,
    seconds double precision,
    method text NOT NULL
);
CREATE TABLE crossfade.validation (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    migration_id uuid NOT NULL REFERENCES crossfade.migration,
    run_id text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    equal boolean
);
CREATE TABLE crossfade.table_check (
    validation_id uuid NOT NULL REFERENCES crossfade.validation,
    migration_id uuid NOT NULL REFERENCES crossfade.migration,
    run_id text NOT NULL,
    table_name text NOT NULL,
    source_rows bigint NOT NULL,
    target_rows bigint NOT NULL,
    equal boolean NOT NULL,
    detail text NOT NULL DEFAULT '',
    ms double precision NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (validation_id, table_name)
);
CREATE TABLE crossfade.approval (
    migration_id uuid NOT NULL REFERENCES crossfade.migration,
    run_id text NOT NULL,
    approver text NOT NULL,
    approved_at timestamptz NOT NULL,
    plan_hash text NOT NULL,
    validation_id uuid NOT NULL REFERENCES crossfade.validation,
    PRIMARY KEY (migration_id, run_id, approved_at)
);

-- target_2: what AWS DMS needs: how large objects travel, what was made in AWS
CREATE TABLE crossfade.lob (
    migration_id uuid NOT NULL REFERENCES crossfade.migration,
    schema text NOT NULL,
    table_name text NOT NULL,
    mode text NOT NULL CHECK (mode IN ('limited', 'inline', 'full')),
    limit_kb integer NOT NULL,
    columns integer NOT NULL,
    largest_bytes bigint NOT NULL,
    largest_column text NOT NULL,
    measured_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (migration_id, schema, table_name)
);
COMMENT ON COLUMN crossfade.lob.limit_kb IS 'LobMaxSize, or InlineLobMaxSize: what is larger is cut in mode limited';
CREATE TABLE crossfade.resource (
    migration_id uuid NOT NULL REFERENCES crossfade.migration,
    kind text NOT NULL CHECK (kind IN ('instance', 'source endpoint', 'target endpoint', 'task', 'slot')),
    identifier text NOT NULL,
    made boolean NOT NULL,
    PRIMARY KEY (migration_id, kind)
);
COMMENT ON COLUMN crossfade.resource.made IS 'By Crossfade, which then also deletes it';

-- both_3: what a way back and a guard need to know of an attempt
ALTER TABLE crossfade.attempt
    ADD COLUMN generation bigint NOT NULL DEFAULT 0,
    ADD COLUMN abort_asked_at timestamptz;
COMMENT ON COLUMN crossfade.attempt.generation IS 'Counted over both sides: the highest one that was committed tells who serves';
COMMENT ON COLUMN crossfade.attempt.heartbeat_at IS 'Kept fresh by the watchdog for as long as its host lives';
COMMENT ON COLUMN crossfade.attempt.abort_asked_at IS 'Somebody asks the cutover to give up; its steps look';

-- target_3: a way back: the states of a rollback, its approvals, and since when the target serves
ALTER TABLE crossfade.migration
    DROP CONSTRAINT migration_state_check,
    ADD CONSTRAINT migration_state_check
        CHECK (state IN ('active', 'cutting over', 'cut over', 'rolling back', 'abandoned', 'completed')),
    ADD COLUMN carrier text NOT NULL DEFAULT 'plan' CHECK (carrier IN ('plan', 'native')),
    ADD COLUMN cut_over_at timestamptz,
    ADD COLUMN writes_at_opening bigint;
DROP INDEX crossfade.one_migration_a_plan;
CREATE UNIQUE INDEX one_migration_a_plan ON crossfade.migration (plan) WHERE state NOT IN ('abandoned', 'completed');
COMMENT ON COLUMN crossfade.migration.carrier IS 'What carries rows to the target: what the plan says or, after a rollback, native replication';
COMMENT ON COLUMN crossfade.migration.writes_at_opening IS 'Row changes that the target had counted when it was opened';
ALTER TABLE crossfade.approval
    ALTER COLUMN validation_id DROP NOT NULL,
    ADD COLUMN action text NOT NULL DEFAULT 'cutover' CHECK (action IN ('cutover', 'rollback', 'cleanup'));
CREATE TABLE crossfade.rehearsal (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    migration_id uuid NOT NULL REFERENCES crossfade.migration,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    plan_hash text NOT NULL,
    clean boolean NOT NULL,
    predicted_ms double precision,
    held_ms double precision,
    detail text NOT NULL DEFAULT ''
);
COMMENT ON COLUMN crossfade.rehearsal.clean IS 'Nothing stood in the way';

-- both_4: the ledger also where rows come back to, whose migrations may be entered elsewhere; before 4 only a target had it
CREATE TABLE IF NOT EXISTS crossfade.restore (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    migration_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('not null', 'foreign key', 'trigger', 'index')),
    schema text NOT NULL,
    table_name text NOT NULL,
    name text NOT NULL,
    definition text[] NOT NULL,
    dropped_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    restored_at timestamptz,
    UNIQUE (migration_id, kind, schema, table_name, name)
);
ALTER TABLE crossfade.restore DROP CONSTRAINT IF EXISTS restore_migration_id_fkey;
COMMENT ON TABLE crossfade.restore IS 'The ledger: entered before it is dropped, so that it can be made again after any failure';
COMMENT ON COLUMN crossfade.restore.definition IS 'What makes it again: each element is run in a transaction of its own';

-- target_4: rows that a task of AWS DMS carries from a slot that was made for it, either way
ALTER TABLE crossfade.migration
    DROP CONSTRAINT migration_carrier_check,
    ADD CONSTRAINT migration_carrier_check CHECK (carrier IN ('plan', 'native', 'slot'));
COMMENT ON COLUMN crossfade.migration.carrier IS 'What carries rows to the target: what the plan says or, after a rollback, native replication or a task from a slot';
ALTER TABLE crossfade.resource
    DROP CONSTRAINT resource_kind_check,
    ADD CONSTRAINT resource_kind_check CHECK (kind IN ('instance', 'source endpoint', 'target endpoint', 'task', 'slot',
        'back source endpoint', 'back target endpoint', 'back task', 'again source endpoint', 'again task'));

-- target_5: how much a validation compares, and how far it is
ALTER TABLE crossfade.validation
    ADD COLUMN mode text NOT NULL DEFAULT 'full' CHECK (mode IN ('quick', 'sample', 'full')),
    ADD COLUMN sides jsonb NOT NULL DEFAULT '{"source": "", "target": ""}',
    ADD COLUMN batches jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN plan_hash text NOT NULL DEFAULT '',
    ADD COLUMN checks jsonb,
    ADD COLUMN checks_done_at timestamptz;
COMMENT ON COLUMN crossfade.validation.equal IS 'False as soon as something differs; true only when all is concluded';
COMMENT ON COLUMN crossfade.validation.batches IS 'Lists of tables that are compared one after the other';
COMMENT ON COLUMN crossfade.validation.checks IS 'What the checks beside the rows found; NULL until they are done';
ALTER TABLE crossfade.table_check ADD COLUMN result jsonb;
COMMENT ON COLUMN crossfade.table_check.result IS 'All that the comparison found, as the report has it';
CREATE TABLE crossfade.validation_part (
    validation_id uuid NOT NULL REFERENCES crossfade.validation,
    table_name text NOT NULL,
    number integer NOT NULL,
    part jsonb NOT NULL,
    result jsonb,
    done_at timestamptz,
    PRIMARY KEY (validation_id, table_name, number)
);
COMMENT ON TABLE crossfade.validation_part IS 'Part of a table: a range of keys, or all of it; with what its comparison found. A killed run goes on with the others.';
CREATE TABLE crossfade.validation_slice (
    migration_id uuid NOT NULL REFERENCES crossfade.migration,
    table_name text NOT NULL,
    number integer NOT NULL,
    part jsonb NOT NULL,
    validated_at timestamptz,
    PRIMARY KEY (migration_id, table_name, number)
);
COMMENT ON TABLE crossfade.validation_slice IS 'How tables are split for validations by sample, so that after some nights all was compared.';
