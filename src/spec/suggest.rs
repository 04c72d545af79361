//! The nearest valid name to what someone wrote.

/// Longest word that is compared, in bytes: no name is longer, and comparing takes time by the square of it.
const LONGEST: usize = 256;

/// The candidate that `word` most likely was meant to be, if any is near.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .filter_map(|candidate| {
            let other = candidate.to_lowercase();
            let distance = strsim::damerau_levenshtein(&lower, &other);
            let longest = lower.chars().count().max(other.chars().count());
            let shortest = lower.chars().count().min(other.chars().count());
            let prefix = shortest >= 3 && (lower.starts_with(&other) || other.starts_with(&lower));
            (distance <= longest / 3 || (longest <= 4 && shortest >= 2 && distance == 1) || prefix)
                .then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Longest list of names that a help line spells out.
const LISTED: usize = 16;

/// A help line: the nearest name, and all names while they are few. `noun` is what they are: "parameters".
pub(super) fn did_you_mean(word: &str, candidates: &[&str], noun: &str) -> Option<String> {
    if candidates.is_empty() {
        return None;
    }
    let near = nearest(word, candidates.iter().copied()).map(|name| format!("did you mean `{name}`?"));
    let list = (near.is_none() || (2..=LISTED).contains(&candidates.len())).then(|| {
        let more = candidates.len().saturating_sub(LISTED);
        let names: Vec<String> = candidates.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{noun} are {}{more}", names.join(", "))
    });
    Some(match (near, list) {
        (Some(near), Some(list)) => format!("{near} The {list}"),
        (near, list) => near.or(list.map(|list| format!("the {list}"))).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_of_the_finger_are_understood() {
        let names = ["width", "depth", "kind", "weight_decay", "lr"];
        for (word, meant) in [
            ("wdth", "width"),
            ("Width", "width"),
            ("dept", "depth"),
            ("weight-decay", "weight_decay"),
            ("weight", "weight_decay"),
        ] {
            assert_eq!(nearest(word, names), Some(meant), "{word}");
        }
        assert_eq!(nearest("banana", names), None);
        assert_eq!(nearest("x", names), None);
    }
}
