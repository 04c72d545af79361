//! What objects of a shared cache are called.

use crate::engine::{Digest, Key};

/// The object that says what the others are.
pub(super) const FORMAT_OBJECT: &str = "s2pipe-remote";
/// The format that this program writes. Raised when an older program could misread a newer remote.
pub(super) const FORMAT: u32 = 1;
/// The folder of actions.
pub(super) const ACTIONS: &str = "actions";

/// The text of [`FORMAT_OBJECT`].
pub(super) fn format_text() -> String {
    format!("s2pipe remote {FORMAT}\n")
}

/// The number in the text of [`FORMAT_OBJECT`]; `None` where it is something else.
pub(super) fn read_format(text: &[u8]) -> Option<u32> {
    let line = std::str::from_utf8(text).ok()?.lines().next()?;
    line.strip_prefix("s2pipe remote ")?.parse().ok()
}

/// The object that holds a task's action.
pub(super) fn action(key: Key) -> String {
    fan_out(ACTIONS, &key.to_string(), ".json")
}

/// The object that holds the record of a directory.
pub(super) fn tree(digest: Digest) -> String {
    fan_out("trees", &digest.hex(), "")
}

/// The object that holds a file.
pub(super) fn file(digest: Digest) -> String {
    fan_out("files", &digest.hex(), ".zst")
}

fn fan_out(folder: &str, hex: &str, end: &str) -> String {
    let (start, rest) = hex.split_at(2);
    format!("{folder}/{start}/{rest}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_documented() {
        let digest = Digest::of(b"");
        assert!(action(Key(digest)).starts_with("actions/af/1349b9f5f9a1"));
        assert!(action(Key(digest)).ends_with("3262.json"));
        assert!(tree(digest).starts_with("trees/af/1349") && tree(digest).ends_with("3262"));
        assert!(file(digest).starts_with("files/af/1349") && file(digest).ends_with("3262.zst"));
    }

    #[test]
    fn a_format_is_a_number_behind_our_name() {
        assert_eq!(read_format(format_text().as_bytes()), Some(FORMAT));
        assert_eq!(read_format(b"s2pipe remote 17"), Some(17));
        for other in [&b"<html>"[..], b"", b"s2pipe cache 1", b"\xff"] {
            assert_eq!(read_format(other), None);
        }
    }
}
