//! What a client and the history can say to `ehos frontend`: it is answered or refused, and every answer is sound.
#![no_main]

use frontend::{History, Range, Router as Site, parse_request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some(head)) = parse_request(bytes) {
        let site = Site::new(History::new("/nonexistent".into()));
        let answer = site.answer(&head);
        assert!([200, 400, 404, 503].contains(&answer.status), "{}", answer.status);
    }
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("2026-03-02.jsonl", bytes);
    let history = History::new(folder.path().to_owned());
    write("last.json", br#"{"simulated": true, "at": "2026-03-02T12:00:00Z"}"#);
    for range in Range::ALL {
        let answer = history.series(range).unwrap();
        let _: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    }
    history.decisions(100, None).unwrap();
    history.node("n-1").unwrap();
});
