//! The datasets' viewer: what is known of a dataset's parquet files, at which commit.

use serde_json::json;

use super::access::{Place, Purpose, open};
use super::{Asked, Kind};
use crate::support::origin::Answer;

pub fn answer(asked: &Asked<'_>) -> Answer {
    let Some(id) = asked.query("dataset") else {
        return Answer::new(422).of(r#"{"error":"Parameter 'dataset' is required"}"#);
    };
    let place = Place {
        kind: Kind::Dataset,
        id: id.to_owned(),
        before: String::new(),
        after: String::new(),
    };
    let Ok(repository) = open(asked, &place, Purpose::Read) else {
        let body = r#"{"error":"The dataset does not exist, or is not accessible without authentication."}"#;
        return Answer::new(404).with("x-error-code", "DatasetNotFound").of(body);
    };
    let Some(commit) = repository.revision("main") else { return Answer::new(500) };
    let base = &asked.shelf.hosts().hub;
    let parquet: Vec<_> = commit
        .files
        .iter()
        .filter(|(path, _)| path.ends_with(".parquet"))
        .map(|(path, file)| {
            json!({
                "dataset": id, "config": "default", "split": "train", "size": file.size,
                "filename": path.rsplit('/').next(),
                "url": format!("{base}/datasets/{id}/resolve/refs%2Fconvert%2Fparquet/{path}"),
            })
        })
        .collect();
    let told = match asked.path {
        "/parquet" => {
            json!({ "parquet_files": parquet, "pending": [], "failed": [], "partial": false })
        }
        "/info" => {
            json!({ "dataset_info": { "default": {} }, "pending": [], "failed": [], "partial": false })
        }
        "/splits" => {
            json!({ "splits": [{ "dataset": id, "config": "default", "split": "train" }] })
        }
        "/rows" => json!({ "features": [], "rows": [] }),
        "/is-valid" => json!({ "viewer": true, "preview": true }),
        _ => return Answer::new(404),
    };
    Answer::ok("application/json", told.to_string()).with("x-revision", &commit.sha)
}
