//! Where a shared cache is: a URL or a folder. It never holds a credential.

use std::fmt;
use std::path::Path;

use object_store::ObjectStoreScheme;
use url::Url;

/// Schemes in which the part before `@` is a container and not a user.
const WITH_CONTAINER: [&str; 2] = ["abfs", "abfss"];

/// Where a shared cache is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address(Url);

/// Why a text is no address of a shared cache. None of these repeats the text, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is no URL.
    #[error("the address of the shared cache is no URL ({0}): expected s3://, gs://, az://, http(s):// or a folder")]
    NoUrl(url::ParseError),
    /// A relative folder without a current one.
    #[error("the folder of the shared cache cannot be found: {0}")]
    NoFolder(std::io::Error),
    /// A scheme that nothing here understands.
    #[error(
        "a shared cache cannot be at a {0}: address: expected s3://, gs://, az://, http(s)://, file:// or a folder"
    )]
    Scheme(String),
    /// A user or a password in it.
    #[error("the address of the shared cache at {0:?} holds a user or a password")]
    Credentials(String),
    /// A query or a fragment in it, where tokens like to hide.
    #[error("the address of the shared cache at {0:?} has a part behind `?` or `#`")]
    Query(String),
}

impl AddressError {
    /// What to do.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Credentials(_) | Self::Query(_) => {
                "leave it out: credentials come from the environment (AWS_*, GOOGLE_*, AZURE_*)"
            }
            Self::NoUrl(_) | Self::NoFolder(_) | Self::Scheme(_) => {
                "an address is for example s3://bucket/folder or /mnt/share/s2pipe"
            }
        }
    }
}

impl Address {
    /// Reads `s3://bucket/folder`, `gs://…`, `az://…`, `http(s)://…`, `file:///…` or the path of a folder.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if !text.contains("://") {
            let folder = std::path::absolute(Path::new(text)).map_err(AddressError::NoFolder)?;
            let url = Url::from_directory_path(folder);
            return url.map(Self).map_err(|()| AddressError::Scheme("relative".to_owned()));
        }
        let url = Url::parse(text).map_err(AddressError::NoUrl)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let user = !url.username().is_empty() && !WITH_CONTAINER.contains(&url.scheme());
        if user || url.password().is_some() {
            return Err(AddressError::Credentials(host));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(AddressError::Query(host));
        }
        match ObjectStoreScheme::parse(&url) {
            Ok((ObjectStoreScheme::Memory, _)) | Err(_) => Err(AddressError::Scheme(url.scheme().to_owned())),
            Ok(_) => Ok(Self(url)),
        }
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.to_file_path() {
            Ok(folder) if self.0.scheme() == "file" => folder.display().fmt(f),
            _ => f.write_str(self.0.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clouds_servers_and_folders_have_addresses() {
        for text in
            ["s3://bucket/a/b", "gs://bucket", "az://box/a", "https://example.org/cache", "http://127.0.0.1:8080/"]
        {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Address::parse("abfss://box@account.dfs.core.windows.net/a").unwrap().0.username(), "box");
        assert_eq!(Address::parse("/mnt/share").unwrap(), Address::parse("file:///mnt/share/").unwrap());
        assert!(Address::parse("share").unwrap().to_string().ends_with("/share/"));
    }

    #[test]
    fn what_holds_a_secret_is_refused_and_not_repeated() {
        for text in [
            "https://me:hunter2@example.org/cache",
            "s3://hunter2@bucket/a",
            "https://example.org/cache?sig=hunter2",
            "https://example.org/cache#hunter2",
            "abfss://box:hunter2@account.dfs.core.windows.net/a",
            "ftp://me:hunter2@example.org",
            "https://[hunter2",
            "memory://hunter2/",
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
