//! Pulls an image by the oci-client crate, every blob checked against its digest, and prints the digests of what the tag names and of the platform's own
//! manifest.

use std::error::Error;
use std::iter;

use oci_client::Reference;
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).ok_or("the name of an image is missing")?;
    let image: Reference = name.parse()?;
    let config = ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() };
    let client = Client::new(config);
    let named = client.fetch_manifest_digest(&image, &RegistryAuth::Anonymous).await?;
    let (manifest, own) = client.pull_image_manifest(&image, &RegistryAuth::Anonymous).await?;
    for part in iter::once(&manifest.config).chain(&manifest.layers) {
        let mut bytes = Vec::new();
        client.pull_blob(&image, part, &mut bytes).await?;
    }
    println!("{named} {own}");
    Ok(())
}
