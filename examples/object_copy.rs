//! The floor under `s2pipe cache push` and `fetch`: copies the files of a folder to an object store and back, as they
//! are, with the crate that s2pipe uses and as many files and parts at a time. `benches/share.py` compares the two.
//!
//! `object_copy push FOLDER URL`, `object_copy fetch URL FOLDER`

use std::fs;
use std::io::Write;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};

type Anything<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const FILES: usize = 8;
const PARTS: usize = 4;
const PART: u64 = 8 << 20;

fn main() -> Anything<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [what, from, to] = args.as_slice() else { return Err("usage: object_copy push|fetch FROM TO".into()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match what.as_str() {
        "push" => runtime.block_on(push(FilePath::new(from), to)),
        _ => runtime.block_on(fetch(from, FilePath::new(to))),
    }
}

fn open(url: &str) -> Anything<(Arc<dyn ObjectStore>, Path)> {
    let variables = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
    let (store, prefix) = object_store::parse_url_opts(&url.parse()?, variables)?;
    Ok((Arc::from(store), prefix))
}

async fn push(folder: &FilePath, url: &str) -> Anything<()> {
    let (store, prefix) = open(url)?;
    let mut files = Vec::new();
    list(folder, &mut files)?;
    let jobs = files.into_iter().map(|file| {
        let name = file.strip_prefix(folder).map(|name| name.to_string_lossy().into_owned());
        let (store, prefix) = (Arc::clone(&store), prefix.clone());
        tokio::spawn(async move { put(&*store, &Path::from(format!("{prefix}/{}", name?)), &file).await })
    });
    each(jobs).await
}

async fn put(store: &dyn ObjectStore, path: &Path, file: &FilePath) -> Anything<()> {
    if fs::metadata(file)?.len() <= PART {
        store.put(path, PutPayload::from(fs::read(file)?)).await?;
        return Ok(());
    }
    let mut upload = WriteMultipart::new_with_chunk_size(store.put_multipart(path).await?, PART as usize);
    let mut file = fs::File::open(file)?;
    let mut block = vec![0; PART as usize];
    loop {
        let count = std::io::Read::read(&mut file, &mut block)?;
        if count == 0 {
            break;
        }
        upload.wait_for_capacity(PARTS).await?;
        upload.write(&block[..count]);
    }
    upload.finish().await?;
    Ok(())
}

async fn fetch(url: &str, folder: &FilePath) -> Anything<()> {
    let (store, prefix) = open(url)?;
    let objects: Vec<_> = store.list(Some(&prefix)).collect().await;
    let jobs = objects.into_iter().map(|object| {
        let (store, prefix, folder) = (Arc::clone(&store), prefix.clone(), folder.to_owned());
        tokio::spawn(async move {
            let object = object?;
            let name = object.location.as_ref().strip_prefix(prefix.as_ref()).unwrap_or_default();
            get(&*store, &object, &folder.join(name.trim_start_matches('/'))).await
        })
    });
    each(jobs).await
}

async fn get(store: &dyn ObjectStore, object: &object_store::ObjectMeta, file: &FilePath) -> Anything<()> {
    fs::create_dir_all(file.parent().unwrap_or(file))?;
    let mut file = fs::File::create(file)?;
    let parts = (0..object.size.div_ceil(PART)).map(|n| n * PART..object.size.min((n + 1) * PART));
    let mut parts = stream::iter(parts).map(|part| store.get_range(&object.location, part)).buffered(PARTS);
    while let Some(part) = parts.next().await {
        file.write_all(&part?)?;
    }
    Ok(())
}

/// Waits for jobs, some of them at a time. (They are started when they are asked for.)
async fn each(jobs: impl Iterator<Item = tokio::task::JoinHandle<Anything<()>>>) -> Anything<()> {
    let mut jobs = stream::iter(jobs).buffer_unordered(FILES);
    while let Some(ended) = jobs.next().await {
        ended??;
    }
    Ok(())
}

fn list(folder: &FilePath, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { list(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
