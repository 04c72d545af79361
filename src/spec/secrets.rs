//! What must not be printed again: passwords and signatures that someone wrote into an address. Logs are read by others.

use std::ops::Range;

/// The text with what is secret in addresses replaced by `*`, byte for byte, so that places stay where they are.
pub(super) fn masked(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, address) = rest.split_at(at + "://".len());
        let end = address.find(|c: char| c.is_whitespace() || "'\"`".contains(c)).unwrap_or(address.len());
        safe.push_str(before);
        mask_address(&address[..end], &mut safe);
        rest = &address[end..];
    }
    safe + rest
}

/// Of `user:password@host/path?signature`: the password, and all that follows `?`.
fn mask_address(address: &str, safe: &mut String) {
    let (address, query) = address.split_at(address.find('?').map_or(address.len(), |at| at + 1));
    match password(address) {
        Some(secret) => {
            safe.push_str(&address[..secret.start]);
            safe.extend(std::iter::repeat_n('*', secret.len()));
            safe.push_str(&address[secret.end..]);
        }
        None => safe.push_str(address),
    }
    safe.extend(std::iter::repeat_n('*', query.len()));
}

/// Where the password stands in what follows `://`. It may have a `/` in it, but it is not the port of a host.
pub(super) fn password(address: &str) -> Option<Range<usize>> {
    let host = address.split('/').next().unwrap_or_default();
    let (colon, at) = host.find(':').zip(address.rfind('@'))?;
    let digits = host[colon + 1..].bytes().all(|b| b.is_ascii_digit());
    let port = !host.contains('@') && (host.starts_with('[') || digits);
    (colon < at && !port).then(|| colon + 1..at)
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn passwords_and_signatures_are_masked_where_they_stand() {
        for (written, shown) in [
            ("url: https://ane:hemmelig@host.no/a", "url: https://ane:********@host.no/a"),
            ("{ a: 's3://key:x/y@bucket', b: 1 }", "{ a: 's3://key:***@bucket', b: 1 }"),
            ("https://1:2@host://", "https://1:*@host://"),
            ("https://x:åb@h", "https://x:***@h"),
            ("https://host.no/cache?sig=a%2F", "https://host.no/cache?********"),
        ] {
            assert_eq!(masked(written), shown);
            assert_eq!(masked(written).len(), written.len());
        }
        for plain in [
            "https://host:9000/a@b",
            "http://[::1]:9000/a@b",
            "https://host/a:b@c",
            "abfs://container@account.dfs.core.windows.net",
            "a: b@c",
            "https://",
            "",
        ] {
            assert_eq!(masked(plain), plain);
        }
    }
}
