//! Functions of MySQL and MariaDB that leave the session as it was, and words that stand before a parenthesis.
//!
//! No catalogue of these servers tells of their own functions, so what is missing here pins: `GET_LOCK`, `LAST_INSERT_ID`, and
//! whatever a later version brings.

/// Sorted.
#[rustfmt::skip]
const FUNCTIONS: &[&str] = &[
    "abs", "acos", "add_months", "adddate", "addtime", "aes_decrypt", "aes_encrypt", "any_value", "ascii", "asin", "atan",
    "atan2", "avg", "benchmark", "bin", "bin_to_uuid", "bit_and", "bit_count", "bit_length", "bit_or", "bit_xor", "cast",
    "ceil", "ceiling", "char", "char_length", "character_length", "charset", "chr", "coalesce", "coercibility", "collation",
    "column_add", "column_check", "column_create", "column_delete", "column_exists", "column_get", "column_json",
    "column_list", "compress", "concat", "concat_ws", "connection_id", "conv", "convert", "convert_tz", "cos", "cot",
    "count", "crc32", "crc32c", "cume_dist", "curdate", "current_date", "current_role", "current_time", "current_timestamp",
    "current_user", "curtime", "database", "date", "date_add", "date_format", "date_sub", "datediff", "day", "dayname",
    "dayofmonth", "dayofweek", "dayofyear", "default", "degrees", "dense_rank", "elt", "exp", "export_set", "extract",
    "extractvalue", "field", "find_in_set", "first_value", "floor", "format", "from_base64", "from_days", "from_unixtime",
    "geometrycollection", "greatest", "group_concat", "grouping", "hex", "hour", "if", "ifnull", "inet6_aton", "inet6_ntoa",
    "inet_aton", "inet_ntoa", "insert", "instr", "interval", "is_free_lock", "is_ipv4", "is_ipv6", "is_used_lock", "is_uuid",
    "isnull", "json_array", "json_array_append", "json_array_insert", "json_arrayagg", "json_compact", "json_contains",
    "json_contains_path", "json_depth", "json_detailed", "json_equals", "json_exists", "json_extract", "json_insert",
    "json_keys", "json_length", "json_merge", "json_merge_patch", "json_merge_preserve", "json_normalize", "json_object",
    "json_objectagg", "json_overlaps", "json_pretty", "json_query", "json_quote", "json_remove", "json_replace",
    "json_schema_valid", "json_search", "json_set", "json_table", "json_type", "json_unquote", "json_valid", "json_value",
    "lag", "last_day", "last_value", "lcase", "lead", "least", "left", "length", "lengthb", "linestring", "ln", "localtime",
    "localtimestamp", "locate", "log", "log10", "log2", "lower", "lpad", "ltrim", "make_set", "makedate", "maketime",
    "match", "max", "md5", "median", "microsecond", "mid", "min", "minute", "mod", "month", "monthname", "multilinestring",
    "multipoint", "multipolygon", "natural_sort_key", "nextval", "now", "nth_value", "ntile", "nullif", "nvl", "nvl2", "oct",
    "octet_length", "ord", "password", "percent_rank", "percentile_cont", "percentile_disc", "period_add", "period_diff",
    "pi", "point", "polygon", "position", "pow", "power", "quarter", "quote", "radians", "rand", "random_bytes", "rank",
    "regexp_instr", "regexp_like", "regexp_replace", "regexp_substr", "repeat", "replace", "reverse", "right", "rollup",
    "round", "row", "row_number", "rpad", "rtrim", "schema", "sec_to_time", "second", "session_user", "setval", "sformat",
    "sha", "sha1", "sha2", "sign", "sin", "sleep", "soundex", "space", "sqrt", "st_area", "st_asbinary", "st_asgeojson",
    "st_astext", "st_buffer", "st_contains", "st_distance", "st_distance_sphere", "st_geomfromgeojson", "st_geomfromtext",
    "st_intersects", "st_latitude", "st_length", "st_longitude", "st_makeenvelope", "st_srid", "st_within", "st_x", "st_y",
    "std", "stddev", "stddev_pop", "stddev_samp", "str_to_date", "strcmp", "subdate", "substr", "substring",
    "substring_index", "subtime", "sum", "sys_guid", "sysdate", "system_user", "tan", "time", "time_format", "time_to_sec",
    "timediff", "timestamp", "timestampadd", "timestampdiff", "to_base64", "to_char", "to_days", "to_seconds", "trim",
    "trim_oracle", "truncate", "ucase", "uncompress", "uncompressed_length", "unhex", "unix_timestamp", "updatexml", "upper",
    "user", "utc_date", "utc_time", "utc_timestamp", "uuid", "uuid_short", "uuid_to_bin", "value", "values", "var_pop",
    "var_samp", "variance", "version", "week", "weekday", "weekofyear", "weight_string", "year", "yearweek",
];
/// Functions that a space before their parenthesis makes into stored ones, unless the mode says otherwise. Sorted.
/// <https://dev.mysql.com/doc/refman/8.4/en/function-resolution.html>
#[rustfmt::skip]
const AT_ONCE: &[&str] = &[
    "adddate", "bit_and", "bit_or", "bit_xor", "cast", "count", "curdate", "curtime", "date_add", "date_sub", "extract",
    "group_concat", "max", "mid", "min", "now", "position", "session_user", "std", "stddev", "stddev_pop", "stddev_samp",
    "subdate", "substr", "substring", "sum", "sysdate", "system_user", "trim", "var_pop", "var_samp", "variance",
];
/// Keywords and types. Sorted.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "against", "all", "alter", "always", "and", "any", "array", "as", "asc", "between", "bigint", "binary", "bit", "blob",
    "by", "case", "char", "character", "check", "columns", "conflict", "create", "cross", "current_date", "current_time",
    "current_timestamp", "current_user", "date", "datetime", "dec", "decimal", "default", "delete", "desc", "distinct",
    "div", "double", "drop", "duplicate", "else", "enum", "except", "exists", "false", "fixed", "float", "for", "from",
    "fulltext", "geometry", "group", "grouping", "hash", "having", "ignore", "in", "index", "inet4", "inet6", "inner",
    "insert", "int", "integer", "intersect", "interval", "into", "is", "join", "json", "key", "lateral", "left", "like",
    "limit", "linear", "list", "longblob", "longtext", "mediumblob", "mediumint", "mediumtext", "member", "minus",
    "national", "natural", "not", "null", "numeric", "nvarchar", "of", "offset", "on", "or", "order", "outer", "over",
    "partition", "primary", "range", "real", "recursive", "regexp", "replace", "returning", "right", "rlike", "row",
    "select", "set", "smallint", "some", "sounds", "spatial", "straight_join", "table", "text", "than", "then", "time",
    "timestamp", "tinyblob", "tinyint", "tinytext", "true", "union", "unique", "unsigned", "update", "using", "uuid",
    "value", "values", "varbinary", "varchar", "vector", "when", "where", "with", "within", "xor", "year",
];
/// Those keywords that every server has reserved: without quotes they are not a name. Sorted.
#[rustfmt::skip]
const RESERVED: &[&str] = &[
    "all", "alter", "and", "as", "asc", "between", "bigint", "binary", "blob", "by", "case", "char", "character", "check",
    "create", "cross", "current_date", "current_time", "current_timestamp", "current_user", "dec", "decimal", "default",
    "delete", "desc", "distinct", "div", "double", "drop", "dual", "else", "exists", "false", "float", "for", "from", "fulltext",
    "group", "having", "if", "ignore", "in", "index", "inner", "insert", "int", "integer", "interval", "into", "is", "join",
    "key", "left", "like", "limit", "longblob", "longtext", "mediumblob", "mediumint", "mediumtext", "natural", "not", "null",
    "numeric", "on", "or", "order", "outer", "primary", "range", "real", "regexp", "replace", "right", "rlike", "select", "set",
    "smallint", "spatial", "straight_join", "table", "then", "tinyblob", "tinyint", "tinytext", "true", "union", "unique",
    "unsigned", "update", "using", "values", "varbinary", "varchar", "when", "where", "with", "xor",
];
/// What stands before a name with a list of columns: no call.
const BEFORE_LISTS: &[&str] =
    &["constraint", "exists", "index", "into", "key", "recursive", "references", "table", "with"];

/// Whether a function tells what the statement before has left.
pub(super) fn is_memory(name: &str) -> bool {
    matches!(name, "found_rows" | "last_insert_id" | "row_count")
}

/// Whether a function of the server leaves the session as it was.
pub(super) fn is_clean(name: &str, is_at_once: bool) -> bool {
    FUNCTIONS.binary_search(&name).is_ok() && (is_at_once || AT_ONCE.binary_search(&name).is_err())
}

/// Whether a word before a parenthesis is not a name.
pub(super) fn is_word(name: &str) -> bool {
    WORDS.binary_search(&name).is_ok()
}

/// Whether a word is not a name unless it is quoted or follows a point.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.binary_search(&name).is_ok()
}

/// Whether a word stands before a name whose parenthesis holds columns.
pub(super) fn is_before_list(word: &str) -> bool {
    BEFORE_LISTS.contains(&word)
}
