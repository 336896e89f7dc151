//! Volatile functions of PostgreSQL and its extensions that leave the session as it was.

/// Of the server itself. `currval`, `lastval`, `setseed`, `set_config` and all that is not here change a session or read what
/// another statement left in it.
const SERVER: &[&str] = &[
    "bernoulli",
    "clock_timestamp",
    "current_query",
    "gen_random_uuid",
    "nextval",
    "pg_advisory_xact_lock",
    "pg_advisory_xact_lock_shared",
    "pg_blocking_pids",
    "pg_cancel_backend",
    "pg_current_wal_flush_lsn",
    "pg_current_wal_insert_lsn",
    "pg_current_wal_lsn",
    "pg_database_size",
    "pg_indexes_size",
    "pg_is_in_recovery",
    "pg_last_wal_receive_lsn",
    "pg_last_wal_replay_lsn",
    "pg_last_xact_replay_timestamp",
    "pg_lock_status",
    "pg_notify",
    "pg_partition_ancestors",
    "pg_partition_tree",
    "pg_relation_size",
    "pg_safe_snapshot_blocking_pids",
    "pg_sequence_last_value",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    "pg_table_size",
    "pg_tablespace_size",
    "pg_terminate_backend",
    "pg_total_relation_size",
    "pg_try_advisory_xact_lock",
    "pg_try_advisory_xact_lock_shared",
    "pg_xact_status",
    "random",
    "random_normal",
    "setval",
    "suppress_redundant_updates_trigger",
    "system",
    "timeofday",
    "tsvector_update_trigger",
    "tsvector_update_trigger_column",
    "txid_status",
    "uuidv4",
    "uuidv7",
]; // sorted
/// Of the extensions `pgcrypto`, `pg_stat_statements` and `uuid-ossp`.
const EXTENSIONS: &[&str] = &[
    "gen_random_bytes",
    "gen_random_uuid",
    "gen_salt",
    "pg_stat_statements",
    "pgp_pub_encrypt",
    "pgp_pub_encrypt_bytea",
    "pgp_sym_encrypt",
    "pgp_sym_encrypt_bytea",
    "uuid_generate_v1",
    "uuid_generate_v1mc",
    "uuid_generate_v4",
]; // sorted
/// Of those, the ones that do something: twice is not once.
const ACTS: &[&str] = &["nextval", "pg_cancel_backend", "pg_notify", "pg_terminate_backend", "setval"];
/// Parts of names that the catalogue calls stable, though the functions run a text or a view that may be anything: of the server,
/// of `tablefunc` and of `xml2`.
const RUNS_TEXT: &[&str] = &["_to_xml", "connectby", "crosstab", "xpath_table"];

/// The schema under which the catalogue tells of the server's own functions.
pub(super) const SERVER_SCHEMA: &str = "pg_catalog";
/// What stands before an extension's name where a schema is told.
const EXTENSION: &str = "extension ";

/// Whether a volatile function of a schema, or of an extension, is known to leave the session as it was.
pub(super) fn is_clean(schema: &str, name: &str) -> bool {
    let known = match schema.strip_prefix(EXTENSION) {
        Some("pg_stat_statements" | "pgcrypto" | "uuid-ossp") => EXTENSIONS,
        None if schema == SERVER_SCHEMA => SERVER,
        _ => return false,
    };
    known.binary_search(&name).is_ok()
}

/// Whether a function may be anything, whatever the catalogue calls it.
pub(super) fn runs_text(name: &str) -> bool {
    RUNS_TEXT.iter().any(|part| name.contains(part))
}

/// Whether a statement that calls it must not be run a second time.
pub(super) fn acts(name: &str) -> bool {
    ACTS.contains(&name)
}
