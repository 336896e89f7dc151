-- The tables and functions of format 1. `@` stands for the app's schema. Nothing here changes once it is released: a later release adds to
-- it, and processes of both releases go on working beside each other. All of it can be run again on a store of an earlier release. Whoever
-- makes it says whose it is, and commits.
BEGIN;
SELECT pg_advisory_xact_lock(hashtext('forebay'), hashtext('@'));
DO $forebay$
BEGIN
    -- The right to make schemas is asked for only where one must be made.
    IF to_regnamespace('@') IS NULL THEN
        CREATE SCHEMA @;
    END IF;
END
$forebay$;

CREATE TABLE IF NOT EXISTS @.format (
    one integer PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    version integer NOT NULL,
    app text NOT NULL
);

-- The head of each unit. `epoch` grows with each owner, `n` with each commit, and `stamp` tells the last commit from every other.
-- `row_count` and `row_sum` (of the rows' checksums) say which rows there must be. `wanted` is the process that is to have the unit, where
-- an operator has said so.
CREATE TABLE IF NOT EXISTS @.unit (
    id integer PRIMARY KEY,
    owner text,
    epoch bigint NOT NULL,
    n bigint NOT NULL,
    stamp bigint NOT NULL,
    deaths integer NOT NULL,
    row_count bigint NOT NULL,
    row_sum bigint NOT NULL,
    wanted text
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);

-- Which positions each log holds. `guard` is made of the other three, so that a changed bit shows.
CREATE TABLE IF NOT EXISTS @.log (
    id integer PRIMARY KEY,
    kept bigint NOT NULL,
    next bigint NOT NULL,
    guard bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);

CREATE TABLE IF NOT EXISTS @.chunk (
    log integer NOT NULL,
    first bigint NOT NULL,
    count integer NOT NULL,
    bytes bigint NOT NULL,
    last_arrival_ms bigint NOT NULL,
    body_crc bigint NOT NULL,
    crc bigint NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (log, first)
) WITH (autovacuum_vacuum_scale_factor = 0.01);

CREATE TABLE IF NOT EXISTS @.entry (
    tab smallint NOT NULL,
    key bytea NOT NULL,
    crc bigint NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (tab, key)
) WITH (autovacuum_vacuum_scale_factor = 0.01);

-- Processes, each under a name that no other process ever has. A beat never goes back. One that is drained is to own nothing.
CREATE TABLE IF NOT EXISTS @.member (
    name text PRIMARY KEY,
    beat bigint NOT NULL,
    version text NOT NULL,
    seen timestamptz NOT NULL DEFAULT clock_timestamp(),
    drained boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);

-- How a process is reached from other machines while it owns the store. Whoever can read this table can ask the owner everything. No
-- address: it does not listen for other machines.
CREATE TABLE IF NOT EXISTS @.door (
    member text PRIMARY KEY REFERENCES @.member (name) ON DELETE CASCADE,
    protocol integer NOT NULL,
    address text,
    key bytea NOT NULL,
    secret bytea NOT NULL
);

-- Logs that were forgotten or trimmed, and have chunks left that nobody reads: they are removed by and by.
CREATE TABLE IF NOT EXISTS @.forgotten (
    log integer PRIMARY KEY
);

CREATE OR REPLACE FUNCTION @.guard_1(p_log integer, p_kept bigint, p_next bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS 'SELECT p_kept # (p_next * 5) # p_log';

-- Removes chunks of the log that has waited longest: at most 1,000 or some 16 MiB at a time, for no commit passes meanwhile. Whether there
-- is more to remove.
CREATE OR REPLACE FUNCTION @.sweep_1() RETURNS boolean LANGUAGE plpgsql AS $forebay$
DECLARE
    v_log integer;
    v_first bigint;
    v_before bigint;
    v_last bigint;
BEGIN
    -- A trim of the log waits until this is over, or is seen. One that an earlier release has just made may be in no row.
    SELECT f.log, f.first, CASE WHEN f.before IS NOT NULL THEN greatest(f.before, l.kept) END INTO v_log, v_first, v_before
    FROM @.forgotten f LEFT JOIN @.log l ON l.id = f.log ORDER BY f.since, f.log LIMIT 1 FOR UPDATE OF f;
    IF v_log IS NULL THEN
        RETURN EXISTS (SELECT FROM @.forgotten);
    END IF;
    SELECT max(s.first) INTO v_last FROM (
        SELECT o.first, sum(o.bytes) OVER (ORDER BY o.first) - o.bytes AS before FROM (
            SELECT c.first, c.bytes FROM @.chunk c WHERE c.log = v_log AND c.first >= v_first
                AND c.first < coalesce(v_before, 9223372036854775807) ORDER BY c.first LIMIT 1000
        ) AS o
    ) AS s WHERE s.before < 16777216;
    -- A log of this number that has begun anew meanwhile is seen with its chunks.
    DELETE FROM @.chunk c WHERE c.log = v_log AND c.first BETWEEN v_first AND v_last
        AND (v_before IS NOT NULL OR NOT EXISTS (SELECT FROM @.log l WHERE l.id = v_log));
    IF EXISTS (SELECT FROM @.chunk c WHERE c.log = v_log AND c.first > v_last AND c.first < coalesce(v_before, 9223372036854775807)) THEN
        UPDATE @.forgotten f SET first = v_last + 1, since = clock_timestamp() WHERE f.log = v_log;
    ELSE
        DELETE FROM @.forgotten f WHERE f.log = v_log;
    END IF;
    RETURN EXISTS (SELECT FROM @.forgotten);
END
$forebay$;

-- One commit. 0: written. 1: it was written before. 2: fenced, and nothing is written. 3: the commit before it is not there any more.
-- Of a log's step, a count above 0 appends a chunk, 0 trims before `first`, and -1 forgets the log.
CREATE OR REPLACE FUNCTION @.commit_1(
    p_unit integer, p_owner text, p_epoch bigint, p_n bigint, p_stamp bigint,
    s_log integer[], s_first bigint[], s_count integer[], s_bytes bigint[], s_arrival bigint[],
    s_body_crc bigint[], s_crc bigint[], s_body bytea[],
    w_tab smallint[], w_key bytea[], w_crc bigint[], w_value bytea[],
    g_tab smallint[], g_key bytea[]
) RETURNS integer LANGUAGE plpgsql AS $forebay$
#variable_conflict use_column
DECLARE
    v_head record;
    v_step record;
    v_span record;
    v_chunk record;
    v_kept bigint;
    v_many bigint;
    v_sum bigint;
    v_count bigint := 0;
    v_total bigint := 0;
    -- What this commit may remove of logs by itself.
    v_chunks_left bigint := 100;
    v_bytes_left bigint := 1048576;
BEGIN
    -- The lock lasts to the end of the transaction: commits of a unit follow each other.
    SELECT u.owner, u.epoch, u.n, u.stamp INTO v_head FROM @.unit u WHERE u.id = p_unit FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'FB002', MESSAGE = format('the head of unit %s is missing', p_unit);
    END IF;
    -- After a failover that has lost a take there may be two of the same epoch.
    IF v_head.epoch = p_epoch AND v_head.owner IS DISTINCT FROM p_owner THEN
        RETURN 2;
    END IF;
    IF v_head.epoch <> p_epoch OR v_head.n <> p_n THEN
        IF v_head.epoch = p_epoch AND v_head.n = p_n + 1 AND v_head.stamp = p_stamp THEN
            RETURN 1;
        END IF;
        IF v_head.epoch < p_epoch OR (v_head.epoch = p_epoch AND v_head.n < p_n) THEN
            RETURN 3;
        END IF;
        RETURN 2;
    END IF;

    FOR v_step IN
        SELECT * FROM unnest(s_log, s_first, s_count, s_bytes, s_arrival, s_body_crc, s_crc, s_body)
            AS t(log, first, count, bytes, arrival, body_crc, crc, body)
    LOOP
        SELECT l.kept, l.next INTO v_span FROM @.log l WHERE l.id = v_step.log;
        IF v_step.count > 0 THEN
            v_many := v_step.first + v_step.count;
            IF v_span.next IS NULL THEN
                DELETE FROM @.forgotten f WHERE f.log = v_step.log;
                IF FOUND THEN
                    DELETE FROM @.chunk c WHERE c.log = v_step.log;
                END IF;
                INSERT INTO @.log (id, kept, next, guard)
                VALUES (v_step.log, v_step.first, v_many, @.guard_1(v_step.log, v_step.first, v_many));
            ELSIF v_span.next <> v_step.first THEN
                RAISE EXCEPTION USING ERRCODE = 'FB001', MESSAGE = format(
                    'a chunk at %s of shard %s does not follow the log, which ends at %s',
                    v_step.first, v_step.log, v_span.next);
            ELSE
                UPDATE @.log l SET next = v_many, guard = @.guard_1(l.id, l.kept, v_many) WHERE l.id = v_step.log;
            END IF;
            INSERT INTO @.chunk (log, first, count, bytes, last_arrival_ms, body_crc, crc, body)
            VALUES (v_step.log, v_step.first, v_step.count, v_step.bytes, v_step.arrival, v_step.body_crc, v_step.crc,
                v_step.body);
        ELSIF v_step.count < 0 THEN
            DELETE FROM @.log l WHERE l.id = v_step.log;
            IF EXISTS (SELECT FROM @.chunk c WHERE c.log = v_step.log) THEN
                INSERT INTO @.forgotten (log) VALUES (v_step.log)
                ON CONFLICT (log) DO UPDATE SET first = -9223372036854775808, before = NULL;
            END IF;
        ELSIF v_span.kept < v_step.first AND v_span.kept < v_span.next THEN
            SELECT c.first, c.first + c.count AS after INTO v_chunk FROM @.chunk c
            WHERE c.log = v_step.log AND c.first < v_step.first AND c.first >= v_span.kept
            ORDER BY c.first DESC LIMIT 1;
            IF NOT FOUND THEN
                RAISE EXCEPTION USING ERRCODE = 'FB002', MESSAGE = format(
                    'the chunk that holds position %s of shard %s is missing', v_span.kept, v_step.log);
            END IF;
            -- A chunk that holds positions to keep as well stays whole.
            v_kept := CASE WHEN v_chunk.after > v_step.first THEN v_chunk.first ELSE v_chunk.after END;
            UPDATE @.log l SET kept = v_kept, guard = @.guard_1(l.id, v_kept, l.next) WHERE l.id = v_step.log;
            -- What is before it may be gigabytes: it is removed between commits. A queue trims a little in nearly every commit.
            IF v_kept > v_span.kept THEN
                SELECT count(*), sum(o.bytes) INTO v_many, v_sum FROM (
                    SELECT c.bytes FROM @.chunk c WHERE c.log = v_step.log AND c.first >= v_span.kept AND c.first < v_kept
                    ORDER BY c.first LIMIT v_chunks_left + 1
                ) AS o;
                -- What an earlier trim has left ends before that.
                IF v_many <= v_chunks_left AND v_sum <= v_bytes_left THEN
                    DELETE FROM @.chunk c WHERE c.log = v_step.log AND c.first >= v_span.kept AND c.first < v_kept;
                    v_chunks_left := v_chunks_left - v_many;
                    v_bytes_left := v_bytes_left - v_sum;
                ELSE
                    INSERT INTO @.forgotten (log, first, before) VALUES (v_step.log, v_span.kept, v_kept)
                    ON CONFLICT (log) DO UPDATE SET before = excluded.before;
                END IF;
            END IF;
        END IF;
    END LOOP;

    IF cardinality(g_tab) > 0 THEN
        WITH gone AS (
            DELETE FROM @.entry e USING unnest(g_tab, g_key) AS t(tab, key) WHERE e.tab = t.tab AND e.key = t.key
            RETURNING e.crc
        )
        SELECT count(*), coalesce(sum(g.crc), 0) INTO v_many, v_sum FROM gone g;
        v_count := v_count - v_many;
        v_total := v_total - v_sum;
    END IF;
    IF cardinality(w_tab) > 0 THEN
        SELECT count(*), coalesce(sum(e.crc), 0) INTO v_many, v_sum
        FROM @.entry e JOIN unnest(w_tab, w_key) AS t(tab, key) ON e.tab = t.tab AND e.key = t.key;
        v_count := v_count - v_many + cardinality(w_tab);
        v_total := v_total - v_sum + (SELECT sum(t.crc) FROM unnest(w_crc) AS t(crc));
        INSERT INTO @.entry (tab, key, crc, value)
        SELECT t.tab, t.key, t.crc, t.value FROM unnest(w_tab, w_key, w_crc, w_value) AS t(tab, key, crc, value)
        ON CONFLICT (tab, key) DO UPDATE SET crc = excluded.crc, value = excluded.value;
    END IF;
    UPDATE @.unit u SET n = u.n + 1, stamp = p_stamp, row_count = u.row_count + v_count, row_sum = u.row_sum + v_total
    WHERE u.id = p_unit;
    RETURN 0;
END
$forebay$;

-- The chunks of a log from the one that holds a position on, each with the log's span. A span without such a chunk is one row.
CREATE OR REPLACE FUNCTION @.chunks_1(p_log integer, p_from bigint, p_bytes bigint)
RETURNS TABLE (o_kept bigint, o_next bigint, o_guard bigint, o_first bigint, o_count integer, o_bytes bigint,
    o_arrival bigint, o_body_crc bigint, o_crc bigint, o_body bytea)
LANGUAGE plpgsql STABLE AS $forebay$
DECLARE
    v_start bigint;
    v_seen bigint := 0;
BEGIN
    SELECT l.kept, l.next, l.guard INTO o_kept, o_next, o_guard FROM @.log l WHERE l.id = p_log;
    IF o_kept IS NULL AND EXISTS (SELECT FROM @.forgotten f WHERE f.log = p_log AND f.before IS NULL) THEN
        RETURN;
    END IF;
    SELECT max(c.first) INTO v_start FROM @.chunk c WHERE c.log = p_log AND c.first <= greatest(p_from, o_kept);
    FOR o_first, o_count, o_bytes, o_arrival, o_body_crc, o_crc, o_body IN
        SELECT c.first, c.count, c.bytes, c.last_arrival_ms, c.body_crc, c.crc, c.body FROM @.chunk c
        WHERE c.log = p_log AND c.first >= coalesce(v_start, 0) AND c.first + c.count > p_from ORDER BY c.first
    LOOP
        RETURN NEXT;
        v_seen := v_seen + o_bytes;
        EXIT WHEN v_seen >= p_bytes;
    END LOOP;
    IF v_seen = 0 AND o_kept IS NOT NULL THEN
        o_first := NULL;
        RETURN NEXT;
    END IF;
END
$forebay$;

INSERT INTO @.unit (id, epoch, n, stamp, deaths, row_count, row_sum) VALUES (0, 0, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING;

-- What a new store, and one of an earlier release, lacks in its tables. Whoever reads or writes a table waits for a change of it, also for
-- one that changes nothing, and it waits for them. So it comes last, and a table that lacks nothing is left alone.
DO $forebay$
DECLARE
    v_lacks record;
    v_is_lacking boolean := false;
BEGIN
    IF EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = '@.chunk'::regclass AND a.attname = 'body' AND a.attstorage <> 'e') THEN
        ALTER TABLE @.chunk ALTER COLUMN body SET STORAGE EXTERNAL;
    END IF;
    FOR v_lacks IN
        SELECT * FROM (VALUES
            -- The newest format that the process understands. Releases that do not say so understand format 1.
            ('member', 'format', 'integer NOT NULL DEFAULT 1'),
            -- Units that the process could not open a short time ago.
            ('member', 'declined', 'integer[] NOT NULL DEFAULT ''{}'''),
            -- An owner's epoch, and the number of the process's connection to it, which is lost. What the process ran over it has ended.
            ('member', 'stopped', 'bigint[] NOT NULL DEFAULT ''{}'''),
            -- Before this position nothing is left. What was removed stays in the index while an old transaction is open, and is not
            -- walked over again.
            ('forgotten', 'first', 'bigint NOT NULL DEFAULT -9223372036854775808'),
            -- Where the chunks that are kept begin, or began when this was written. Null: the whole log was forgotten.
            ('forgotten', 'before', 'bigint'),
            -- Since when it has waited for the next slice. A log that is trimmed again and again keeps no other from its turn.
            ('forgotten', 'since', 'timestamptz NOT NULL DEFAULT clock_timestamp()')
        ) AS t (tab, col, kind) WHERE NOT EXISTS (
            SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass('@.' || t.tab) AND a.attname = t.col
        )
    LOOP
        EXECUTE 'ALTER TABLE @.' || v_lacks.tab || ' ADD COLUMN IF NOT EXISTS ' || v_lacks.col || ' ' || v_lacks.kind;
        v_is_lacking := v_is_lacking OR v_lacks.tab = 'forgotten';
    END LOOP;
    IF v_is_lacking THEN
        -- Trims of an earlier release may have left chunks. To look for them takes long where much was removed: the sweep does so, a log at a
        -- time.
        INSERT INTO @.forgotten (log, before) SELECT l.id, l.kept FROM @.log l WHERE l.kept > 0 ON CONFLICT DO NOTHING;
    END IF;
END
$forebay$;
