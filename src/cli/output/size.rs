//! Sizes, as people read and write them.

/// `2.3 GB`.
pub(in crate::cli) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `50GB`, `512 MiB`, `1.5TB`.
pub(in crate::cli) fn read_bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, f64); 9] = [
        ("B", 1.0),
        ("kB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
        ("TB", 1e12),
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
        ("TiB", 1_099_511_627_776.0),
    ];
    let wrong = || "expected a size with a unit, such as 500MB, 50GB or 1.5TB".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
    let (number, unit) = (text[..digits].parse::<f64>().map_err(|_| wrong())?, text[digits..].trim());
    let factor = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(wrong)?.1;
    Ok((number * factor) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_by_people() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1000), "1.0 kB");
        assert_eq!(bytes(999_600), "1.0 MB");
        assert_eq!(bytes(2_345_678_901), "2.3 GB");
    }

    #[test]
    fn sizes_are_written_by_people() {
        let sizes = [("0B", 0), ("500MB", 500_000_000), ("1.5 TB", 1_500_000_000_000), ("2gib", 2 << 30)];
        for (text, count) in sizes {
            assert_eq!(read_bytes(text), Ok(count), "{text}");
        }
        for text in ["", "50", "GB", "-1GB", "1.2.3GB", "5 apples"] {
            assert!(read_bytes(text).is_err(), "{text}");
        }
    }
}
