//! Runs the server until standard input is closed, so that any other program can be tried against it.
//!
//! ```text
//! cargo run -p keyswap-testkit --example serve [ADDRESS [WINDOW_IN_MILLISECONDS]]
//! ```

use std::time::Duration;

use keyswap_testkit::{AuthorizationServer, Client};
use tokio::io::AsyncReadExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".into());
    let window = arguments.next().map_or(Ok(300), |window| window.parse())?;
    let server = AuthorizationServer::builder()
        .nodes(3)
        .propagation_window(Duration::from_millis(window))
        .client(Client::new("billing", "first-secret").grant("https://api.example/"))
        .management_client(Client::management("rotator", "mgmt-secret"))
        .bind(address)
        .start()
        .await?;
    println!("{}", server.url());
    // What a program reads from this server is its own business; here only the end of the input matters.
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    server.shutdown().await;
    println!("{:?}", server.counts());
    Ok(())
}
