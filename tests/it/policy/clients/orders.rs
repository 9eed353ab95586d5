//! Clients that are started once and given many orders: `orders.py` runs each in a process of its own.

use std::path::Path;
use std::process::Stdio;

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::support::installer::tool;
use crate::support::wait::soon;

/// A client that waits for orders.
pub struct Orders {
    answers: Lines<BufReader<ChildStdout>>,
    orders: ChildStdin,
    _child: Child,
    _place: TempDir,
}

/// What came of an order.
#[derive(Debug, Deserialize)]
pub struct Done {
    pub succeeded: bool,
    /// What the client printed.
    pub said: String,
}

impl Orders {
    /// Starts `client` with the Python of its folder and these variables beside none of this machine's.
    pub fn start(client: &str, folder: &str, variables: &[(&str, &str)]) -> Self {
        let place = TempDir::new().expect("a temporary folder can be made");
        let mut command = tool(folder, "python", place.path());
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/policy/clients/orders.py");
        command.arg(script).arg(client).envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("Python can be run");
        let orders = child.stdin.take().expect("it is a pipe");
        let answers = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
        Self { answers, orders, _child: child, _place: place }
    }

    pub async fn run(&mut self, order: &Value) -> Done {
        let line = format!("{order}\n");
        self.orders.write_all(line.as_bytes()).await.expect("the client takes orders");
        let answer =
            soon("the client", self.answers.next_line()).await.expect("a pipe can be read");
        let answer = answer.expect("the client answers every order");
        serde_json::from_str(&answer).expect("an answer in JSON")
    }
}
