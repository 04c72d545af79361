//! Opens the store behind an address, with credentials from the environment.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::{Position, Url};

use super::address::Address;
use super::fault::Fault;

/// How long a connection may take to come about.
const CONNECT: &str = "4 s";
/// How long a transfer may stand still.
const STANDSTILL: &str = "15 s";
/// How long one request may take as a whole: a part of 8 MiB at 70 kB/s.
const REQUEST: &str = "120 s";

const CLIENT: [(ClientConfigKey, &str); 3] = [
    (ClientConfigKey::ConnectTimeout, CONNECT),
    (ClientConfigKey::ReadTimeout, STANDSTILL),
    (ClientConfigKey::Timeout, REQUEST),
];

/// A request is sent again so often, with growing pauses of random length between.
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(4),
            base: 2.,
        },
        max_retries: 4,
        retry_timeout: Duration::from_secs(30),
    }
}

/// Opens the store, and the folder in it. Sends no request yet.
pub(super) fn open(address: &Address) -> Result<(Arc<dyn ObjectStore>, Path), Fault> {
    // Fails when it has been done before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = address.url();
    let fail = |e: object_store::Error| Fault::of(&address.to_string(), &e);
    let (scheme, path) = ObjectStoreScheme::parse(url).map_err(|e| fail(e.into()))?;
    let store: Arc<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::Local => return Ok((Arc::new(folder(address)?), Path::default())),
        ObjectStoreScheme::AmazonS3 => Arc::new(s3(url).map_err(fail)?),
        ObjectStoreScheme::GoogleCloudStorage => Arc::new(google(url).map_err(fail)?),
        ObjectStoreScheme::MicrosoftAzure => Arc::new(azure(url).map_err(fail)?),
        _ => Arc::new(http(url).map_err(fail)?),
    };
    Ok((store, path))
}

/// A folder, which is made where only its last part is missing: a shared disk that is not there is no empty remote.
fn folder(address: &Address) -> Result<LocalFileSystem, Fault> {
    let unreachable = |said: String| Fault::Unreachable { said };
    let path = address.url().to_file_path().map_err(|()| unreachable("it is no folder".to_owned()))?;
    let make = |path: &FilePath| if path.is_dir() { Ok(()) } else { std::fs::create_dir(path) };
    make(&path).map_err(|e| unreachable(e.to_string()))?;
    LocalFileSystem::new_with_prefix(&path).map_err(|e| Fault::of(&address.to_string(), &e))
}

fn s3(url: &Url) -> object_store::Result<impl ObjectStore> {
    let builder = AmazonS3Builder::from_env().with_url(url.as_str()).with_retry(retries());
    let client = |builder: AmazonS3Builder, (key, value)| builder.with_config(AmazonS3ConfigKey::Client(key), value);
    CLIENT.into_iter().fold(builder, client).build()
}

fn google(url: &Url) -> object_store::Result<impl ObjectStore> {
    let builder = GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).with_retry(retries());
    let client =
        |builder: GoogleCloudStorageBuilder, (key, value)| builder.with_config(GoogleConfigKey::Client(key), value);
    CLIENT.into_iter().fold(builder, client).build()
}

fn azure(url: &Url) -> object_store::Result<impl ObjectStore> {
    let builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str()).with_retry(retries());
    let client = |builder: MicrosoftAzureBuilder, (key, value)| builder.with_config(AzureConfigKey::Client(key), value);
    CLIENT.into_iter().fold(builder, client).build()
}

fn http(url: &Url) -> object_store::Result<impl ObjectStore> {
    let plain = (url.scheme() == "http").to_string();
    let builder = HttpBuilder::new().with_url(&url[..Position::BeforePath]).with_retry(retries());
    let builder = builder.with_config(ClientConfigKey::AllowHttp, plain);
    CLIENT.into_iter().fold(builder, |builder, (key, value)| builder.with_config(key, value)).build()
}
