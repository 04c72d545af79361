//! JSON artefacts: every one names its format and version in a field `format`.

use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::engine::StageError;

/// Reads a document of this format. `what` names it in messages: "a patch index".
///
/// # Errors
/// A sentence naming the file when it is missing, damaged, something else or of another version.
pub(super) fn read_document<T: DeserializeOwned>(path: &Path, what: &str, format: &str) -> Result<T, StageError> {
    let wrong = |problem: String| StageError::failed(format!("{}: {problem}", path.display()));
    let text = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    let value: Value = serde_json::from_slice(&text).map_err(|e| wrong(format!("is not {what}: {e}")))?;
    // The version first: another one may have other fields, and that would be told as damage.
    match value.get("format").and_then(Value::as_str) {
        Some(found) if found == format => {}
        Some(found) => return Err(wrong(format!("is of format {found:?}, this version reads {format:?}"))),
        None => return Err(wrong(format!("is not {what}: it names no format"))),
    }
    serde_json::from_value(value).map_err(|e| wrong(format!("is not {what}: {e}")))
}

/// Writes a document, indented for people, and the folder that it stands in.
///
/// # Errors
/// A sentence naming the file that could not be written.
pub(super) fn write_document<T: Serialize>(path: &Path, document: &T) -> Result<(), StageError> {
    write(path, document, serde_json::to_string_pretty)
}

/// Writes a document without indentation: for those with thousands of entries.
///
/// # Errors
/// A sentence naming the file that could not be written.
pub(super) fn write_dense_document<T: Serialize>(path: &Path, document: &T) -> Result<(), StageError> {
    write(path, document, serde_json::to_string)
}

/// Writes text, and the folder that it stands in.
///
/// # Errors
/// A sentence naming the file that could not be written.
pub(super) fn write_text(path: &Path, text: &str) -> Result<(), StageError> {
    let wrong = |e: io::Error| StageError::failed(format!("{}: {e}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(wrong)?;
    }
    std::fs::write(path, text).map_err(wrong)
}

fn write<T: Serialize>(
    path: &Path,
    document: &T,
    encode: fn(&T) -> serde_json::Result<String>,
) -> Result<(), StageError> {
    let text = encode(document).map_err(|e| StageError::failed(format!("{}: {e}", path.display())))?;
    write_text(path, &(text + "\n"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Note {
        format: String,
        words: usize,
    }

    #[test]
    fn comes_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/note.json");
        let note = Note { format: "note/1".into(), words: 3 };
        write_document(&path, &note).unwrap();
        assert_eq!(read_document::<Note>(&path, "a note", "note/1").unwrap(), note);
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("note.json");
        let told = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let error = read_document::<Note>(&path, "a note", "note/1").unwrap_err().to_string();
            assert!(error.contains("note.json: "), "{error}");
            error
        };
        assert!(
            told(r#"{"format":"note/2","pages":1}"#)
                .ends_with("is of format \"note/2\", this version reads \"note/1\"")
        );
        assert!(told(r#"{"words":3}"#).ends_with("is not a note: it names no format"));
        assert!(told(r#"{"format":"note/1"}"#).contains("is not a note: missing field `words`"));
        assert!(told("GIF89a").contains("is not a note"));
    }
}
