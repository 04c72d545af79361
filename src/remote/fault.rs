//! What can go wrong between here and a remote, in words that hold no secret.
//!
//! The errors of the store below repeat requests and answers, with signatures and key names in them. Only what is known
//! to be harmless is taken over: a status, a code of the server, what the operating system said.

use std::error::Error;

use object_store::client::{HttpError, HttpErrorKind};

/// Where machines of a cloud get credentials from when there are none in the environment.
const METADATA_SERVICE: [&str; 2] = ["169.254.169.254", "metadata.google.internal"];

/// Something went wrong between here and the remote.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// There is no such object.
    #[error("there is no {object}")]
    Missing {
        /// The object.
        object: String,
    },
    /// The server does not let us.
    #[error("access to {object} is denied{}", in_brackets(.said))]
    Denied {
        /// The object.
        object: String,
        /// What the server said.
        said: String,
    },
    /// There are no credentials in the environment.
    #[error("there are no credentials for it in the environment")]
    NoCredentials,
    /// No connection.
    #[error("it cannot be reached{}", in_brackets(.said))]
    Unreachable {
        /// What the system said.
        said: String,
    },
    /// No answer, or a transfer that took too long.
    #[error("{object} took longer than {seconds} s")]
    Slow {
        /// The object.
        object: String,
        /// The patience that was had with it.
        seconds: u64,
    },
    /// Anything else that the server or the network did.
    #[error("{object} failed{}", in_brackets(.said))]
    Failed {
        /// The object.
        object: String,
        /// What the server or the system said.
        said: String,
    },
    /// The run was interrupted.
    #[error("it was interrupted")]
    Cancelled,
}

fn in_brackets(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

impl Fault {
    /// Sorts an error of the store below into the case that it is.
    pub(super) fn of(object: &str, error: &object_store::Error) -> Self {
        let object = object.to_owned();
        let text = error.to_string();
        if METADATA_SERVICE.iter().any(|host| text.contains(host)) {
            return Self::NoCredentials;
        }
        let chain = Chain::of(error);
        match error {
            // A whole bucket that is missing is no object that is.
            object_store::Error::NotFound { .. } if code(&text) != Some("NoSuchBucket") => Self::Missing { object },
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                Self::Denied { object, said: chain.said(&text) }
            }
            _ if chain.denied => Self::Denied { object, said: chain.said(&text) },
            _ if chain.connecting => Self::Unreachable { said: chain.said(&text) },
            object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } => {
                Self::Failed { object, said: "this kind of remote cannot do that".to_owned() }
            }
            _ => Self::Failed { object, said: chain.said(&text) },
        }
    }

    /// What to do.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "look at the address of the remote",
            Self::Denied { .. } => "look at the permissions of the bucket and the credentials in the environment",
            Self::NoCredentials => "set the variables that its cloud's own tools read (AWS_*, GOOGLE_*, AZURE_*)",
            Self::Unreachable { .. } => {
                "look at the address and the network; a server without TLS needs AWS_ALLOW_HTTP=true"
            }
            Self::Slow { .. } | Self::Failed { .. } => "try again later; without the remote, `--no-remote`",
            Self::Cancelled => "the same command goes on from here",
        }
    }
}

/// What is worth knowing of an error's causes.
#[derive(Default)]
struct Chain {
    /// No connection came about.
    connecting: bool,
    /// The file system denied it.
    denied: bool,
    /// What the system said at the end of the chain.
    system: Option<String>,
    timeout: bool,
}

impl Chain {
    fn of(error: &object_store::Error) -> Self {
        let mut chain = Self::default();
        let mut next: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(cause) = next {
            if let Some(http) = cause.downcast_ref::<HttpError>() {
                chain.connecting |= http.kind() == HttpErrorKind::Connect;
                chain.timeout |= http.kind() == HttpErrorKind::Timeout;
            }
            if let Some(io) = cause.downcast_ref::<std::io::Error>() {
                chain.denied |= io.kind() == std::io::ErrorKind::PermissionDenied;
                chain.system = Some(io.to_string());
            }
            next = cause.source();
        }
        chain
    }

    /// Status, code and the system's words, as far as there are any.
    fn said(&self, text: &str) -> String {
        let timeout = self.timeout.then(|| "time is over".to_owned());
        let parts = [status(text).map(str::to_owned), code(text).map(str::to_owned), timeout, self.system.clone()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// `403 Forbidden`.
fn status(text: &str) -> Option<&str> {
    let rest = text.split_once("status code: ")?.1;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != ' ').unwrap_or(rest.len());
    Some(rest[..end].trim()).filter(|status| !status.is_empty() && status.len() < 60)
}

/// `NoSuchBucket`: the code in the XML that object stores answer with.
fn code(text: &str) -> Option<&str> {
    let code = text.split_once("<Code>")?.1.split_once("</Code>")?.0;
    (code.len() < 60 && code.bytes().all(|b| b.is_ascii_alphanumeric())).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.into() }
    }

    #[test]
    fn only_harmless_words_of_an_answer_are_repeated() {
        let answer = "Error performing PUT https://b.s3/x?sig=hunter2 - Server returned non-2xx status code: 403 Forbidden: \
                      <Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>hunter2</AWSAccessKeyId></Error>";
        let fault = Fault::of("files/ab/c.zst", &generic(answer));
        assert_eq!(fault.to_string(), "files/ab/c.zst failed (403 Forbidden, SignatureDoesNotMatch)");
        let strange = Fault::of("x", &generic("hunter2 <Code>hunter2 hunter2</Code>"));
        assert_eq!(strange.to_string(), "x failed");
    }

    #[test]
    fn a_missing_bucket_is_not_an_empty_one() {
        let not_found = |text: &str| object_store::Error::NotFound { path: "x".into(), source: text.into() };
        assert_eq!(Fault::of("x", &not_found("404")), Fault::Missing { object: "x".into() });
        let bucket = Fault::of("x", &not_found("<Code>NoSuchBucket</Code>"));
        assert_eq!(bucket.to_string(), "x failed (NoSuchBucket)");
    }

    #[test]
    fn without_credentials_it_says_so() {
        let error = generic("Error performing GET http://169.254.169.254/latest/api/token");
        assert_eq!(Fault::of("x", &error), Fault::NoCredentials);
    }
}
