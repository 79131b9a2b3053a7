//! Whoever does not come to an answer stands in nobody's way.

use std::net::TcpListener;
use std::thread;

use super::*;

#[test]
fn a_second_address_is_asked_where_the_first_takes_the_connection_and_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = DataDir::create(&folder.path().join("raddle")).unwrap();
    let listeners = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let peers = listeners.each_ref().map(|listener| listener.local_addr().unwrap().to_string().parse().unwrap());
    let secret = JoinSecret::Password(Zeroizing::new("correct horse battery staple".to_owned()));
    let asked = thread::spawn(move || {
        listeners.map(|listener| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read(&mut [0; 64]).unwrap()
        })
    });
    let error = join(&data_dir, &"joiner".parse().unwrap(), &secret, &peers).unwrap_err();
    assert!(error.is::<Interrupted>(), "{error:#}");
    assert!(asked.join().unwrap().iter().all(|length| *length > 0));
}

#[test]
fn a_sponsor_is_listened_to_while_it_speaks_but_not_for_ever() {
    let begun = Instant::now();
    let after = |seconds| begun + Duration::from_secs(seconds);
    let mut patience = Patience::begin(begun);
    assert_eq!(patience.left(after(20)), Ok(Duration::from_secs(10)));
    for pause in [20, 40, 60] {
        patience.handle_bytes(after(pause));
    }
    assert_eq!(patience.left(after(80)), Ok(Duration::from_secs(10)));
    assert_eq!(patience.left(after(90)), Err(Spent::Silent));
    (80..1800).step_by(20).for_each(|heard| patience.handle_bytes(after(heard)));
    assert_eq!(patience.left(after(1795)), Ok(Duration::from_secs(5)));
    assert_eq!(patience.left(after(1800)), Err(Spent::Endless));
}
