//! The SQL of a store: what makes it, and the statements that read and write it.

/// What makes a store of each format one of the next: statements of PL/pgSQL, each with its semicolon. Processes that own a part of the
/// store go on with what they have prepared meanwhile, so a step only adds to what is there.
pub(crate) const STEPS: &[&str] = &[];

/// Makes a store of format 1 in the schema that `@` stands for, if it is not there.
const MAKE: &str = include_str!("schema.sql");

/// SQL of this store.
pub(crate) fn sql(schema: &str, text: &str) -> String {
    text.replace('@', schema)
}

/// What makes a store.
pub(crate) fn make(schema: &str) -> String {
    sql(schema, MAKE)
}

/// Make a store that has one format, and no living member that does not understand the other, one of the other. All of it is one
/// statement, so that a process which stops in its midst holds no lock.
pub(crate) fn raise(schema: &str, steps: &[&str], from: u32, to: u32) -> String {
    let steps: String = steps.iter().take(to as usize - 1).skip(from as usize - 1).copied().collect();
    let text = format!(
        "DO $raise$ BEGIN UPDATE @.format SET version = {to} WHERE version = {from} AND NOT EXISTS (SELECT 1 FROM @.member m \
         WHERE m.format < {to} AND m.seen > clock_timestamp() - interval '5 s'); IF FOUND THEN {steps} END IF; END $raise$"
    );
    sql(schema, &text)
}

/// Whether there is a store with all that this release adds to its format.
pub(crate) const COMPLETE: &str =
    "SELECT to_regclass('@.format') IS NOT NULL AND EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('@.member') \
     AND attname = 'stopped') AND EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('@.forgotten') AND attname = 'since')";
/// Whether processes say how they are reached.
pub(crate) const HAS_DOORS: &str = "SELECT to_regclass('@.door') IS NOT NULL";
/// Whether there is a store.
pub(crate) const EXISTS: &str = "SELECT to_regclass('@.format') IS NOT NULL";
/// Whose it is.
pub(crate) const FOUND: &str = "SELECT version, app FROM @.format";
/// Whose it is, alone.
pub(crate) const APP: &str = "SELECT app FROM @.format";
/// Schemas that hold a store: other programs have tables of one of these names, too.
pub(crate) const SCHEMAS: &str =
    "SELECT n.nspname::text FROM pg_namespace n WHERE (SELECT count(*) FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind = 'r' \
     AND c.relname IN ('format', 'unit', 'log', 'chunk', 'entry', 'member')) = 6 ORDER BY 1";
/// The head of a unit.
pub(crate) const HEAD: &str = "SELECT owner, epoch, n, deaths FROM @.unit WHERE id = $1";
/// Who owns a unit, and how long ago the owner has beaten, ms.
pub(crate) const OWNER: &str =
    "SELECT u.owner, (extract(epoch FROM clock_timestamp() - m.seen) * 1000)::int8 FROM @.unit u \
     LEFT JOIN @.member m ON m.name = u.owner WHERE u.id = $1";
/// Members, how long ago each has beaten, ms, whether it is drained, the newest format that it understands, and whether there is something
/// that it could not open. An earlier release may have made the table.
pub(crate) const MEMBERS: &str = "SELECT name, version, (extract(epoch FROM clock_timestamp() - seen) * 1000)::int8, drained, \
     coalesce((to_jsonb(m) ->> 'format')::int4, 1), coalesce(to_jsonb(m) -> 'declined', '[]') <> '[]' FROM @.member m ORDER BY name";
/// Where members listen for other machines.
pub(crate) const DOORS: &str = "SELECT member, address FROM @.door WHERE address IS NOT NULL";
/// Says how a member is reached.
pub(crate) const DOOR_TOLD: &str =
    "INSERT INTO @.door (member, protocol, address, key, secret) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (member) DO UPDATE SET protocol = excluded.protocol, address = excluded.address, key = excluded.key, \
     secret = excluded.secret";
/// Says it again where it is not said any more.
pub(crate) const DOOR_KEPT: &str =
    "INSERT INTO @.door (member, protocol, address, key, secret) SELECT $1, $2, $3, $4, $5 \
     WHERE EXISTS (SELECT FROM @.member WHERE name = $1) ON CONFLICT DO NOTHING";
/// How a member is reached.
pub(crate) const DOOR_OF: &str = "SELECT protocol, address, key, secret FROM @.door WHERE member = $1";
/// Makes it this app's, of the first format, where it is new.
pub(crate) const CLAIM: &str = "INSERT INTO @.format (version, app) VALUES ($1, $2) ON CONFLICT DO NOTHING";

pub(crate) const COMMIT: &str =
    "SELECT @.commit_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)";
/// Whether there are chunks to remove of logs that were forgotten or trimmed, and removing some of them.
pub(crate) const LEFT: &str = "SELECT EXISTS (SELECT FROM @.forgotten)";
pub(crate) const SWEEP: &str = "SELECT @.sweep_1()";
pub(crate) const TAKE: &str =
    "UPDATE @.unit SET epoch = epoch + 1, owner = $2, stamp = 0, wanted = NULL WHERE id = $1 \
                               RETURNING epoch, n, row_count, row_sum";
/// Has the next epoch be above this one. Who owns the unit would lose it.
pub(crate) const RAISE_EPOCH: &str = "UPDATE @.unit SET epoch = $2 WHERE id = $1 AND epoch < $2 AND owner IS NULL";
/// Goes on with a unit that this process has taken as a member.
pub(crate) const TAKEN: &str = "UPDATE @.unit SET stamp = 0 WHERE id = $1 AND owner = $2 AND epoch = $3 \
                                RETURNING epoch, n, row_count, row_sum";
/// Takes a unit, if nobody else has done so since its epoch was read, and this process understands the store. One that takes its own unit
/// anew, since its release was not heard, hands it over once more where somebody else is wanted.
pub(crate) const CLAIM_UNIT: &str =
    "UPDATE @.unit SET epoch = epoch + 1, owner = $2, deaths = $4, stamp = 0, \
     wanted = CASE WHEN owner = $2 THEN wanted END WHERE id = $1 AND epoch = $3 \
     AND (SELECT m.format FROM @.member m WHERE m.name = $2) >= (SELECT max(f.version) FROM @.format f) RETURNING epoch";
/// Members and heads, of one moment, with each head the store's format, and with each row what time it is.
pub(crate) const ASK: &str = "SELECT NULL::int4, name, beat, drained::int4, NULL::text, format, declined, \
     (extract(epoch FROM clock_timestamp()) * 1000)::int8, stopped FROM @.member \
     UNION ALL SELECT id, owner, epoch, deaths, wanted, (SELECT max(f.version) FROM @.format f), NULL::int4[], \
     (extract(epoch FROM clock_timestamp()) * 1000)::int8, NULL::int8[] FROM @.unit";
/// The same, and a beat of one's own. The rows of members that have not beaten for an hour go, if this process knows that they are gone:
/// the server's clock may have been set forward, and with a row go its drained flag and its door.
pub(crate) const BEAT: &str =
    "WITH own AS (INSERT INTO @.member AS m (name, beat, version, format, declined, stopped) VALUES ($1, $2, $3, $4, $5, $6) \
     ON CONFLICT (name) DO UPDATE SET beat = greatest(m.beat, excluded.beat), seen = clock_timestamp(), \
     declined = excluded.declined, stopped = excluded.stopped), \
     old AS (DELETE FROM @.member WHERE seen < clock_timestamp() - interval '1 hour' AND name = ANY($7)) \
     SELECT NULL::int4, name, beat, drained::int4, NULL::text, format, declined, \
     (extract(epoch FROM clock_timestamp()) * 1000)::int8, stopped FROM @.member \
     UNION ALL SELECT id, owner, epoch, deaths, wanted, (SELECT max(f.version) FROM @.format f), NULL::int4[], \
     (extract(epoch FROM clock_timestamp()) * 1000)::int8, NULL::int8[] FROM @.unit";
/// Gives back a unit that could not be opened, and says so.
pub(crate) const GIVE_BACK: &str = "WITH own AS (UPDATE @.member SET declined = $4 WHERE name = $2) \
                                    UPDATE @.unit SET owner = NULL WHERE id = $1 AND owner = $2 AND epoch = $3";
/// Says who is to have a unit: a process that shares the store, understands it and is not drained.
pub(crate) const WANT: &str = "UPDATE @.unit SET wanted = $2 WHERE id = $1 AND EXISTS (SELECT 1 FROM @.member \
     WHERE name = $2 AND NOT drained AND format >= (SELECT max(f.version) FROM @.format f))";
/// Says whether a process is to own nothing.
pub(crate) const DRAIN: &str = "UPDATE @.member SET drained = $2 WHERE name = $1";
/// Shares the store no more. A unit that this process took and could not open is free at once.
pub(crate) const LEAVE: &str = "WITH own AS (UPDATE @.unit SET owner = NULL WHERE owner = $1) \
                                DELETE FROM @.member WHERE name = $1";
/// Gives a unit up. After a failover that has lost a take there may be two owners of the same epoch.
pub(crate) const RELEASE: &str =
    "UPDATE @.unit SET owner = NULL, deaths = 0 WHERE id = $1 AND epoch = $2 AND n = $3 AND owner = $4";
/// The rows there are.
pub(crate) const CENSUS: &str = "SELECT count(*), coalesce(sum(crc), 0)::int8 FROM @.entry";
/// The span of each log, and where its first chunk begins and its last one ends.
pub(crate) const ENDS: &str = "SELECT l.id, l.kept, l.next, l.guard, \
     (SELECT c.first FROM @.chunk c WHERE c.log = l.id AND c.first >= l.kept ORDER BY c.first LIMIT 1), \
     (SELECT c.first + c.count FROM @.chunk c WHERE c.log = l.id AND c.first >= l.kept ORDER BY c.first DESC LIMIT 1) \
     FROM @.log l ORDER BY l.id";

pub(crate) const CHUNKS: &str = "SELECT * FROM @.chunks_1($1, $2, $3)";
pub(crate) const BOUNDS: &str = "SELECT l.kept, l.next, l.guard, (SELECT max(c.first) FROM @.chunk c WHERE c.log = $1 \
     AND NOT EXISTS (SELECT FROM @.forgotten f WHERE f.log = $1 AND f.before IS NULL)) \
     FROM (SELECT 1) AS one LEFT JOIN @.log l ON l.id = $1";
pub(crate) const SIZES: &str =
    "SELECT l.kept, l.next, l.guard, c.first, c.count, c.bytes, c.last_arrival_ms, c.body_crc, c.crc FROM @.log l \
     LEFT JOIN LATERAL (SELECT * FROM @.chunk c WHERE c.log = $1 AND c.first >= l.kept ORDER BY c.first LIMIT $2) c ON true \
     WHERE l.id = $1 ORDER BY c.first";
pub(crate) const ROW: &str = "SELECT value, crc FROM @.entry WHERE tab = $1 AND key = $2";
/// Every row of each of these tables that has less than `$2` rows and no more bytes than `$3`; of one without rows a key that is null.
pub(crate) const TABLES: &str =
    "SELECT tab, key, value, crc FROM (SELECT t.tab, e.key, e.value, e.crc, count(*) OVER own AS rows, \
     sum(octet_length(e.key) + octet_length(e.value)) OVER own AS bytes FROM unnest($1::int2[]) AS t (tab) \
     LEFT JOIN LATERAL (SELECT key, value, crc FROM @.entry WHERE tab = t.tab ORDER BY key LIMIT $2) e ON true \
     WINDOW own AS (PARTITION BY t.tab)) s WHERE rows < $2 AND coalesce(bytes, 0) <= $3";
/// The span of each log, and its first chunk.
pub(crate) const LOGS: &str =
    "SELECT l.kept, l.next, l.guard, c.first, c.count, c.bytes, c.last_arrival_ms, c.body_crc, c.crc, l.id \
     FROM (SELECT * FROM @.log ORDER BY id LIMIT $1) l LEFT JOIN LATERAL \
     (SELECT * FROM @.chunk c WHERE c.log = l.id AND c.first >= l.kept ORDER BY c.first LIMIT 1) c ON true";
/// Rows from a key on.
pub(crate) const ROWS: &str = "SELECT key, value, crc FROM @.entry WHERE tab = $1 AND key >= $2 ORDER BY key LIMIT $3";
/// The same, and before another key.
pub(crate) const ROWS_BEFORE: &str =
    "SELECT key, value, crc FROM @.entry WHERE tab = $1 AND key >= $2 AND key < $4 ORDER BY key LIMIT $3";
