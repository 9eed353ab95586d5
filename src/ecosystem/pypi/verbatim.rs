//! JSON documents that are kept as upstream wrote them: provenance objects and the legacy JSON.

use bytes::Bytes;
use serde_json::Value;

use crate::cache::lookup::{Fresh, Keep, Kept, Parsed};

/// Keeps a JSON object that has a certain key: what lacks it is an error page or something else.
#[derive(Debug)]
pub struct VerbatimJson {
    pub required: &'static str,
}

/// The object's text.
#[derive(Debug, Clone)]
pub struct JsonText(pub Bytes);

impl Keep for VerbatimJson {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        Ok(Parsed::new(JsonText(kept.clone())))
    }

    fn merge(&self, _: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let value: Value = serde_json::from_slice(fresh.body).map_err(|error| {
            format!("upstream answered with something that is not JSON: {error}")
        })?;
        if value.get(self.required).is_none() {
            return Err(format!("upstream answered with JSON that has no {:?}", self.required));
        }
        let bytes = fresh.body.clone();
        Ok(Kept::alone(bytes.clone(), Parsed::new(JsonText(bytes))))
    }
}
