//! What is written for the plugin, which is told of no directory that the operator was in.

use super::*;
use crate::cli::Output;

fn written(data_dir: &str, control_socket: &str) -> Value {
    let globals = Globals { data_dir: data_dir.into(), control_socket: control_socket.into(), output: Output::Text };
    let whole: Value = serde_json::from_str(&configuration(&globals).unwrap()).unwrap();
    whole["plugins"][0].clone()
}

#[test]
fn a_place_is_written_in_full_and_only_if_it_is_not_the_usual_one() {
    let usual = written(control_api::DEFAULT_DATA_DIR, control_api::DEFAULT_SOCKET);
    assert!(usual["dataDir"].is_null() && usual["controlSocket"].is_null(), "{usual}");
    let here = std::env::current_dir().unwrap();
    let named = written("data", "./run/control.sock");
    assert_eq!(named["dataDir"], here.join("data").to_str().unwrap());
    assert_eq!(named["controlSocket"], here.join("run/control.sock").to_str().unwrap());
    assert_eq!(written("/srv/raddle", "/run/two.sock")["dataDir"], "/srv/raddle");
}
