//! Numbers as bus rules compare them: by value, if the value is exactly what is written.

/// Digits that any `f64` of a moderate size keeps.
const DIGITS_KEPT: usize = 15;

/// The value of a JSON number; `None` if an `f64` does not say it exactly, as with account numbers of 17 digits. Such a
/// number is compared as it is written.
pub(in crate::pattern) fn comparable(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    if !value.is_finite() {
        return None;
    }
    // No minus zero: it would be another number than zero where numbers are looked up.
    let value = if value == 0.0 { 0.0 } else { value };
    let is_plain = text.len() <= DIGITS_KEPT && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-'));
    if is_plain || decimal(text)? == decimal(&format!("{value:e}"))? {
        Some(value)
    } else {
        None
    }
}

/// The digits without zeros on either side, and the power of ten of the last one.
fn decimal(text: &str) -> Option<(String, i64)> {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (digits, power) = match text.split_once(['e', 'E']) {
        Some((digits, power)) => (digits, power.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some((String::new(), 0));
    }
    let zeros_after = all.len() - all.trim_end_matches('0').len();
    let power = power.checked_sub(fraction.len() as i64)?.checked_add(zeros_after as i64)?;
    Some((significant.to_owned(), power))
}

#[cfg(test)]
mod tests {
    use super::comparable;

    #[test]
    fn a_number_that_is_kept_exactly_has_a_value_however_it_is_written() {
        for text in ["300", "300.0", "3.0e2", "3E+2", "0.3e3", "300.000000000000000000000", "30000e-2"] {
            assert_eq!(comparable(text), Some(300.0), "{text}");
        }
        for zero in ["0", "-0", "-0.0", "0e5", "0.000"] {
            assert_eq!(comparable(zero).map(f64::to_bits), Some(0), "{zero}");
        }
        for (text, value) in
            [("1234567890123456", 1_234_567_890_123_456.0), ("1e308", 1e308), ("-0.1", -0.1), ("1e-7", 1e-7)]
        {
            assert_eq!(comparable(text), Some(value), "{text}");
        }
    }

    #[test]
    fn a_number_of_too_many_digits_or_too_large_has_none() {
        for text in [
            "12345678901234567",
            "9007199254740993",
            "0.12345678901234567",
            "1e309",
            "-1e400",
            "1e-400",
            "1e99999999999999999999",
        ] {
            assert_eq!(comparable(text), None, "{text}");
        }
    }
}
