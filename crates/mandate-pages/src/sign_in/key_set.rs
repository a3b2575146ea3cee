//! The public keys of an identity provider (JWKS): from its URL or a file, read again when a token names a key that is
//! not there, and once a day, so that keys that were taken back are forgotten.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::Request;
use bytes::Bytes;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use mandate_client::Client;
use tokio::sync::Mutex;

/// Where the keys are.
pub enum KeySource {
    Url(String, Client),
    File(PathBuf),
}

/// The keys of an identity provider.
pub struct KeySet {
    source: KeySource,
    /// How often keys may be read again because a token names an unknown one: anybody can send such tokens.
    min_interval: Duration,
    read: Mutex<Option<ReadKeys>>,
}

struct ReadKeys {
    /// Or why they could not be read.
    keys: Result<Arc<[Key]>, String>,
    at: Instant,
}

/// A key, and what it may have signed.
pub struct Key {
    pub id: Option<String>,
    pub algorithms: Vec<Algorithm>,
    pub public: DecodingKey,
}

const MIN_INTERVAL: Duration = Duration::from_secs(10);

/// How old keys may get.
const MAX_AGE: Duration = Duration::from_hours(24);

impl KeySet {
    pub fn new(source: KeySource) -> Self {
        Self { source, min_interval: MIN_INTERVAL, read: Mutex::new(None) }
    }

    /// The keys, among them the one with this id if there is any.
    ///
    /// # Errors
    /// They cannot be read; the reason is for the log.
    pub async fn keys_for(&self, id: Option<&str>) -> Result<Arc<[Key]>, String> {
        let mut read = self.read.lock().await;
        if let Some(known) = read.as_ref().filter(|known| !self.is_outdated(known, id)) {
            return known.keys.clone();
        }
        let keys = self.fetch().await.map(Arc::from);
        *read = Some(ReadKeys { keys: keys.clone(), at: Instant::now() });
        keys
    }

    fn is_outdated(&self, known: &ReadKeys, id: Option<&str>) -> bool {
        let age = known.at.elapsed();
        let has_id =
            |keys: &Arc<[Key]>| id.is_none_or(|id| keys.iter().any(|key| key.id.as_deref() == Some(id)));
        age >= MAX_AGE || age >= self.min_interval && !known.keys.as_ref().is_ok_and(has_id)
    }

    async fn fetch(&self) -> Result<Vec<Key>, String> {
        let bytes = match &self.source {
            KeySource::Url(url, client) => get(client, url).await?,
            KeySource::File(path) => {
                let read = tokio::task::spawn_blocking({
                    let path = path.clone();
                    move || std::fs::read(path)
                });
                let read = read.await.map_err(|error| error.to_string())?;
                read.map_err(|error| format!("cannot read `{}`: {error}", path.display()))?.into()
            }
        };
        read_keys(&bytes)
    }
}

/// Reads a document of an identity provider.
///
/// # Errors
/// It is not there; the reason is for the log.
pub async fn get(client: &Client, url: &str) -> Result<Bytes, String> {
    let request = Request::get(url).body(Bytes::new()).map_err(|error| format!("`{url}`: {error}"))?;
    let answer = client.send(request).await.map_err(|error| format!("`{url}`: {error}"))?;
    if answer.status().is_success() {
        Ok(answer.into_body())
    } else {
        Err(format!("`{url}` answers with the status {}", answer.status().as_u16()))
    }
}

/// Reads a set of keys. Those that sign nothing are left out.
///
/// # Errors
/// It is no such set, or has no key that can be used.
pub fn read_keys(bytes: &[u8]) -> Result<Vec<Key>, String> {
    let set: JwkSet = serde_json::from_slice(bytes).map_err(|error| format!("not a set of keys: {error}"))?;
    let keys: Vec<Key> = set.keys.iter().filter_map(key).collect();
    if keys.is_empty() { Err("the set has no key that can be used".to_owned()) } else { Ok(keys) }
}

fn key(jwk: &Jwk) -> Option<Key> {
    if jwk.common.public_key_use.as_ref().is_some_and(|it| *it != PublicKeyUse::Signature) {
        return None;
    }
    let of_type: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        // A shared secret is no public key.
        _ => return None,
    };
    let named = jwk.common.key_algorithm.map(|named| named.to_string().parse::<Algorithm>());
    let algorithms = match named {
        None => of_type.to_vec(),
        Some(Ok(named)) if of_type.contains(&named) => vec![named],
        Some(_) => return None,
    };
    let public = DecodingKey::from_jwk(jwk).ok()?;
    Some(Key { id: jwk.common.key_id.clone(), algorithms, public })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;

    fn write(path: &std::path::Path, id: &str) {
        std::fs::write(path, format!(r#"{{"keys":[{{{KEY},"kid":"{id}"}}]}}"#)).unwrap();
    }

    async fn ids(keys: &KeySet, id: &str) -> Vec<String> {
        let found = keys.keys_for(Some(id)).await.unwrap();
        found.iter().filter_map(|key| key.id.clone()).collect()
    }

    #[tokio::test]
    async fn keys_are_read_again_for_one_that_is_not_there_but_not_all_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        write(&path, "one");
        let often = KeySet { min_interval: Duration::ZERO, ..KeySet::new(KeySource::File(path.clone())) };
        let rarely = KeySet::new(KeySource::File(path.clone()));
        for keys in [&often, &rarely] {
            assert_eq!(ids(keys, "one").await, ["one"]);
        }
        write(&path, "two");
        assert_eq!(ids(&often, "one").await, ["one"], "it is known");
        assert_eq!(ids(&often, "two").await, ["two"]);
        assert_eq!(ids(&rarely, "two").await, ["one"]);
    }

    #[tokio::test]
    async fn sets_without_a_key_that_can_be_used_are_refused() {
        let secret = r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#;
        let other_use = format!(r#"{{"keys":[{{{KEY},"use":"enc"}}]}}"#);
        let other_algorithm = format!(r#"{{"keys":[{{{KEY},"alg":"RS256"}}]}}"#);
        for set in ["", "{}", r#"{"keys":[]}"#, secret, &other_use, &other_algorithm] {
            assert!(read_keys(set.as_bytes()).is_err(), "{set}");
        }
    }
}
