//! Durations such as `90s`, `12m`, `4h`, `1h30m`.

const UNITS: [(char, u64); 3] = [('h', 3600), ('m', 60), ('s', 1)];

/// Reads a duration as whole seconds. Units from large to small, each at most once; no blanks, no fractions.
///
/// # Errors
/// What to do about it, for the help line.
pub(super) fn parse_seconds(text: &str) -> Result<u64, String> {
    let example = "write hours, minutes and seconds such as `90s`, `12m`, `4h` or `1h30m`";
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("it has no unit: write `{text}s`, `{text}m` or `{text}h`"));
    }
    let (mut rest, mut units, mut seconds) = (text, UNITS.iter(), 0u64);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let unit = tail.chars().next().ok_or_else(|| example.to_owned())?;
        if digits == 0 || !UNITS.iter().any(|(u, _)| *u == unit) {
            return Err(example.to_owned());
        }
        let Some((_, factor)) = units.by_ref().find(|(u, _)| *u == unit) else {
            return Err("the order is hours, minutes, seconds, each at most once, such as `1h30m`".to_owned());
        };
        let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor));
        let sum = part.and_then(|part| seconds.checked_add(part));
        seconds = sum.ok_or_else(|| "it is too long".to_owned())?;
        rest = &tail[1..];
    }
    if text.is_empty() { Err(example.to_owned()) } else { Ok(seconds) }
}

#[cfg(test)]
mod tests {
    use super::parse_seconds;

    #[test]
    fn durations_are_read_as_seconds() {
        for (text, seconds) in
            [("90s", 90), ("12m", 720), ("4h", 14400), ("1h30m", 5400), ("1h0m1s", 3601), ("0s", 0), ("100h", 360_000)]
        {
            assert_eq!(parse_seconds(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in
            ["", "4", "h", "4d", "4 h", "30m1h", "1h1h", "-1h", "1.5h", "4H", "1h30", "99999999999999999999h", "4ø"]
        {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }
}
