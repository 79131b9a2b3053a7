//! Both sides come to the same keys; anybody else to none.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn local(number: u8, cluster: u8) -> Local {
    let noise_key = Secret::new([number; 32]);
    Local {
        cluster: ClusterId([cluster; 32]),
        identity: Identity([number; 32]),
        noise_public: noise_key.noise_public(),
        noise_key,
        primitives: Primitives::default(),
    }
}

fn greeting() -> Greeting {
    let suites = vec![Suite::Aes256Gcm, Suite::ChaCha20Poly1305];
    Greeting { stamp: (3, 9), protocols: (1, 1), queues: 2, identity: Identity([1; 32]), suites, certificate: None }
}

const ANSWER: Answer = Answer { boot: 8, protocol: 1, suite: Suite::Aes256Gcm, queues: 4 };

fn initiation(from: &Local, to: &Local) -> (Call, Vec<u8>) {
    let callee = Callee { identity: to.identity, noise_public: &to.noise_public, index: 0x1111_1111, cookie: None };
    call(from, &callee, &greeting(), [1; 32]).unwrap()
}

#[test]
fn both_sides_come_to_the_same_keys() {
    let (left, right) = (local(1, 0), local(2, 0));
    let (call, message) = initiation(&left, &right);
    let caller = Caller::open(&right, &message, [2; 32]).unwrap();
    assert_eq!((caller.noise_public, caller.index, &caller.greeting), (left.noise_public, 0x1111_1111, &greeting()));
    let (reply, theirs) = caller.answer(&right, 0x2222_2222, &ANSWER).unwrap();
    let response = Response::parse(&reply).unwrap();
    assert_eq!((response.sender, response.receiver), (0x2222_2222, 0x1111_1111));
    let Ok((answer, ours)) = call.finish(&response) else { panic!("refused") };
    assert_eq!(answer, ANSWER);
    assert_eq!((*ours.control_send, *ours.data_receive), (*theirs.control_receive, *theirs.data_send));
    assert_eq!((*ours.control_receive, *ours.data_send), (*theirs.control_send, *theirs.data_receive));
    assert_eq!(ours.salt, theirs.salt);
    let all = [*ours.control_send, *ours.control_receive, *ours.data_send, *ours.data_receive];
    assert!((0..4).all(|i| (0..i).all(|j| all[i] != all[j])));
}

/// The bytes are an interface: a router of yesterday must understand one of today.
#[test]
fn the_messages_are_as_they_always_were() {
    let (left, right) = (local(1, 0), local(2, 0));
    let (_, message) = initiation(&left, &right);
    assert_eq!(
        (message.len(), &message[..8]),
        (4 + 4 + 32 + 48 + 52 + 16 + 32, &[1, 0, 1, 0, 0x11, 0x11, 0x11, 0x11][..])
    );
    let (reply, keys) = Caller::open(&right, &message, [2; 32]).unwrap().answer(&right, 0x2222_2222, &ANSWER).unwrap();
    assert_eq!((reply.len(), &reply[..4]), (4 + 8 + 32 + 7 + 16 + 32, &[2, 0, 1, 0][..]));
    let digest = crate::digest::hash(&[&message, &reply, &*keys.control_send, &*keys.data_send, &keys.salt]);
    let text: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(text, "79db5e81491a7555");
}

#[test]
fn another_cluster_is_not_understood() {
    let (left, right) = (local(1, 0), local(2, 1));
    let (_, message) = initiation(&left, &local(2, 0));
    assert!(Caller::open(&right, &message, [2; 32]).is_none());
    assert!(Caller::open(&local(3, 0), &message, [2; 32]).is_none(), "somebody else's call");
}

#[test]
fn garbage_does_not_end_a_call() {
    let (left, right) = (local(1, 0), local(2, 0));
    let (call, message) = initiation(&left, &right);
    let caller = Caller::open(&right, &message, [2; 32]).unwrap();
    let (reply, _) = caller.answer(&right, 2, &ANSWER).unwrap();
    let mut forged = reply.clone();
    forged[30] ^= 1;
    let Err(call) = call.finish(&Response::parse(&forged).unwrap()) else { panic!("believed") };
    assert!(call.finish(&Response::parse(&reply).unwrap()).is_ok());
}

proptest! {
    #[test]
    fn payloads_survive_their_encoding(boot in any::<u32>(), counter in any::<u64>(), bytes in any::<[u8; 3]>(), identity in any::<[u8; 32]>(), more in vec(any::<u8>(), 0..9)) {
        let [oldest, newest, queues] = bytes;
        let greeting = Greeting { stamp: (boot, counter), protocols: (oldest, newest), queues, identity: Identity(identity), ..greeting() };
        let mut encoded = greeting.emit();
        encoded.extend(&more);
        prop_assert_eq!(Greeting::parse(&encoded), Some(greeting));
        let answer = Answer { boot, queues, ..ANSWER };
        let mut encoded = answer.emit();
        encoded.extend(&more);
        prop_assert_eq!(Answer::parse(&encoded), Some(answer));
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in vec(any::<u8>(), 0..200)) {
        let _ = (Greeting::parse(&bytes), Answer::parse(&bytes), Caller::open(&local(1, 0), &bytes, [0; 32]).is_some());
        let _ = Response::parse(&bytes).map(|response| initiation(&local(1, 0), &local(2, 0)).0.finish(&response).is_ok());
    }
}
