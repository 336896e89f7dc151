//! What is accepted and what is refused, with AWS's texts.

use forebay_core::schedule::{find_zone, Dialect, Expression, FlexibleWindow, ScheduleError};
use serde_json::Value as Json;

use crate::corpus;

/// An expression beside what AWS answered to the call that held it.
fn check(dialect: Dialect, expression: &str, error: &Json) {
    let verdict = Expression::parse(dialect, expression).map(drop).map_err(|error| error.message);
    let expected = error["Error"]["Message"].as_str().map_or(Ok(()), |message| Err(message.to_owned()));
    assert_eq!(verdict, expected, "{dialect:?} {expression}");
}

#[test]
fn recorded_expressions_get_the_verdict_and_the_text_that_aws_gave() {
    for case in corpus::cases("events/schedules.jsonl") {
        let dialect = if case["operation"] == "put_rule" { Dialect::Rule } else { Dialect::Scheduler };
        check(dialect, case["expression"].as_str().expect("an expression"), &case["error"]);
    }
}

#[test]
fn schedules_in_recorded_scenarios_get_the_verdict_and_the_text_that_aws_gave() {
    for case in corpus::cases("scheduler/traces.jsonl") {
        for step in case["steps"].as_array().into_iter().flatten() {
            if step["operation"] == "create_schedule" {
                let expression = step["params"]["ScheduleExpression"].as_str().expect("an expression");
                check(Dialect::Scheduler, expression, &step["error"]);
            }
        }
    }
}

#[test]
fn what_both_dialects_accept() {
    for text in [
        "rate(1 minute)",
        "rate(7 days)",
        "cron(*/15 * * * ? *)",
        "cron(0/5 8-17 ? * MON-FRI *)",
        "cron(0-59/10 22-2 ? * FRI-MON *)",
        "cron(15 10 ? * 6L 2002-2005)",
        "cron(0 9 L-3 * ? *)",
        "cron(0 9 LW 1,6,DEC ? *)",
        "cron(0 9 15W jan-mar ? 2026/2)",
        "cron(0 9 ? * friL *)",
        "cron(0 9 ? * L *)",
        "cron(0 9 ? * SAT#3 1970-2199)",
        "cron(*/59 */23 */31 */12 ? 1970/229)",
        "cron(0 9 ? * */7 *)",
    ] {
        for dialect in [Dialect::Rule, Dialect::Scheduler] {
            assert_eq!(Expression::parse(dialect, text).map(drop), Ok(()), "{text}");
        }
    }
}

#[test]
fn what_both_dialects_refuse() {
    for text in [
        "",
        "rate",
        "rate()",
        "rate(5)",
        "rate(0 minutes)",
        "rate(-1 minutes)",
        "rate(+1 minutes)",
        "rate(1.5 hours)",
        "rate(5  minutes)",
        "rate( 5 minutes)",
        "rate(5 minutes) ",
        "RATE(5 minutes)",
        "rate(5 MINUTES)",
        "rate(30 seconds)",
        "rate(1 year)",
        "rate(100000000000000000000 days)",
        "cron(0 12 * * ?)",
        "cron(0 12 * * ? * *)",
        "cron( 0 12 * * ? *)",
        "cron(0 12 * * * *)",
        "cron(0 12 ? * ? *)",
        "cron(? 12 * * ? *)",
        "cron(60 12 * * ? *)",
        "cron(0 24 * * ? *)",
        "cron(0 12 0 * ? *)",
        "cron(0 12 32 * ? *)",
        "cron(0 12 * 13 ? *)",
        "cron(0 12 ? * 0 *)",
        "cron(0 12 ? * 8 *)",
        "cron(0 12 ? * FUN *)",
        "cron(0 12 ? * 6#6 *)",
        "cron(0 12 ? * 6#0 *)",
        "cron(0 12 ? * 3#1,6#3 *)",
        "cron(0 12 ? * 2,6L *)",
        "cron(0 12 L,3 * ? *)",
        "cron(0 12 L-31 * ? *)",
        "cron(0 12 W * ? *)",
        "cron(0 12 32W * ? *)",
        "cron(0 12 * * ? 1969)",
        "cron(0 12 * * ? 2200)",
        "cron(0 12 * * ? 2030-2026)",
        "cron(*/0 * * * ? *)",
        "cron(*/60 * * * ? *)",
        "cron(0 */24 * * ? *)",
        "cron(0 9 */32 * ? *)",
        "cron(0 9 * */13 ? *)",
        "cron(0 9 ? * */8 *)",
        "cron(0 9 * * ? 1970/230)",
        "cron(/5 * * * ? *)",
        "cron(5- * * * ? *)",
        "cron(1,,2 * * * ? *)",
        "cron(+5 * * * ? *)",
        "at(2026-02-30T00:00:00)",
        "at(2026-01-01T00:00:60)",
        "at(2026-01-01T00:00:00.5)",
        "at(2026-01-01T00:00:00Z)",
        "at(2026-01-01T00:00)",
        "at(2026-01-01)",
    ] {
        for dialect in [Dialect::Rule, Dialect::Scheduler] {
            assert!(Expression::parse(dialect, text).is_err(), "{text}");
        }
    }
}

#[test]
fn only_schedules_know_at_and_only_rules_want_number_and_unit_to_agree() {
    for text in ["at(2022-12-31T23:59:59)", "rate(1 minutes)", "rate(10 hour)"] {
        assert!(Expression::parse(Dialect::Rule, text).is_err(), "{text}");
        assert!(Expression::parse(Dialect::Scheduler, text).is_ok(), "{text}");
    }
}

#[test]
fn a_refusal_says_what_is_wrong_and_where() {
    let told = |text| Expression::parse(Dialect::Rule, text).expect_err("refused").to_string();
    assert_eq!(
        told("cron(0 25 * * ? *)"),
        "Parameter ScheduleExpression is not valid. In the field hours, '25' is wrong: values are 0 to 23."
    );
    assert!(told("cron(0 1 * * * *)").contains("must be ?"));
    assert!(told("cron(0 1 ? * ? *)").contains("the other says which days"));
    assert!(told("cron(0 1 * * ? 2026/230)").contains("a step is 1 to 229"));
    let long = |zeros| format!("cron({}0 12 * * ? *)", "0,".repeat(zeros));
    assert_eq!(long(119).len(), 256);
    assert!(Expression::parse(Dialect::Rule, &long(119)).is_ok());
    assert!(told(&long(120)).contains("at most 256 characters"));
}

#[test]
fn zones_have_names_and_windows_have_bounds() {
    let refused = |error: ScheduleError| error.to_string();
    assert!(find_zone(jiff::tz::db(), "Mars/Olympus").map_err(refused).expect_err("refused").contains("Mars/Olympus"));
    assert!(FlexibleWindow::new(0).is_err() && FlexibleWindow::new(1441).is_err());
    let window = FlexibleWindow::new(10).expect("a window");
    assert_eq!([0, u64::MAX / 2, u64::MAX].map(|draw| window.delay_ms(draw)), [0, 299_999, 599_999]);
}
