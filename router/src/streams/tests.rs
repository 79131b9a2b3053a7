//! How much waits for somebody who reads nothing, and for how long.

use super::*;

/// One stream of ours, and its far end, which reads nothing.
async fn stream() -> (Streams, mpsc::Receiver<StreamEvent>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    let (events, happened) = mpsc::channel(1);
    let mut streams = Streams::new(events);
    streams.open(1, ours);
    (streams, happened, far)
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn a_peer_that_reads_nothing_is_cut_off_and_nothing_waits_for_it() {
    run(async {
        let (mut streams, _happened, _far) = stream().await;
        let writer = Arc::downgrade(&streams.open.get(&1).unwrap().queued_bytes);
        let mut sent = 0;
        while streams.send(1, Speech::Talk, vec![0; 512 << 10]) == Sent::Queued {
            sent += 512 << 10;
            assert!(sent < 32 << 20);
            tokio::task::yield_now().await;
        }
        let is_over = async {
            while writer.strong_count() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(5), is_over).await.unwrap();
    });
}

#[test]
fn a_grant_may_wait_whole() {
    run(async {
        let (mut streams, _happened, _far) = stream().await;
        for _ in 0..128 {
            assert_eq!(streams.send(1, Speech::Grant, vec![0; 512 << 10]), Sent::Queued);
        }
    });
}

#[test]
fn what_was_said_before_a_goodbye_arrives() {
    run(async {
        let (mut streams, _happened, mut far) = stream().await;
        for _ in 0..16 {
            assert_eq!(streams.send(1, Speech::Talk, vec![7; 512 << 10]), Sent::Queued);
        }
        streams.close(1);
        let mut arrived = Vec::new();
        far.read_to_end(&mut arrived).await.unwrap();
        assert_eq!(arrived.len(), 8 << 20);
    });
}

#[test]
fn a_goodbye_takes_as_long_as_a_slow_link_needs() {
    let whole = 8 << 20;
    assert!(farewell(whole) > Duration::from_secs(whole as u64 / 200_000));
    assert_eq!([farewell(0), farewell(usize::MAX)], [FAREWELL, LONGEST_GRANT]);
}

#[test]
fn nothing_is_left_of_a_stream_that_owed_nothing() {
    run(async {
        let (mut streams, _happened, _far) = stream().await;
        streams.close(1);
        let is_over = async {
            while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(5), is_over).await.unwrap();
    });
}
