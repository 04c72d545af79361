//! The word by which ranks of one training know each other.

use std::fmt::Write as _;
use std::io::{self, Read};

/// Random bytes that only the ranks of one training know: whoever does not is not let in.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; Token::LENGTH]);

impl Token {
    pub(super) const LENGTH: usize = 32;

    /// A new one, from the system's random numbers.
    ///
    /// # Errors
    /// A system that has none.
    pub(super) fn draw() -> io::Result<Self> {
        let mut bytes = [0; Self::LENGTH];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// As hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// From what [`Token::to_hex`] wrote; `None` where it did not.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; Self::LENGTH];
        if text.len() != 2 * Self::LENGTH || !text.is_ascii() {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// Whether these are its bytes; takes as long whichever byte differs.
    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        bytes.len() == Self::LENGTH && self.0.iter().zip(bytes).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It is a secret.
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_differ_and_one_comes_back_from_its_digits() {
        let (a, b) = (Token::draw().unwrap(), Token::draw().unwrap());
        assert!(a != b && a.is(a.bytes()) && !a.is(b.bytes()) && !a.is(&a.bytes()[1..]));
        assert_eq!(Token::from_hex(&a.to_hex()), Some(a.clone()));
        assert_eq!(format!("{a:?}"), "Token");
        assert_eq!(Token::from_hex(&a.to_hex()[1..]), None);
        assert_eq!(Token::from_hex(&"g".repeat(64)), None);
    }
}
