//! Both encodings lead back to what was encoded, and any bytes are read without harm.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn control_messages_survive_their_encoding(number in any::<u32>(), roster in any::<[u8; 8]>(), topic in any::<u8>(), payload in vec(any::<u8>(), 0..99)) {
        let address = Some(SocketAddr::from((std::net::Ipv4Addr::from(number), 6783)));
        let reach = Reach { round_trip: Duration::from_micros(number.into()), datagram_bytes: 1472, course: Course::Direct, address };
        let all = [
            Control::Ping { number, roster },
            Control::Pong { number, roster },
            Control::Message { topic: Topic(topic), payload: &payload },
            Control::Bind,
            Control::Check { number },
            Control::Checked { number },
            Control::Relay(Passed { leg: Leg::There, far: Identity([topic; 32]), message: &payload }),
            Control::Relay(Passed { leg: Leg::Here, far: Identity([topic; 32]), message: &payload }),
            Control::Relay(Passed { leg: Leg::On, far: Identity([topic; 32]), message: &payload }),
            Control::Seek { whom: Identity([topic; 32]) },
            Control::Far { whom: Identity([topic; 32]) },
            Control::Reach { whom: Identity([topic; 32]), reach: Reach { address: None, ..reach } },
            Control::Reach { whom: Identity([topic; 32]), reach },
            Control::Reach { whom: Identity([topic; 32]), reach: Reach { course: Course::Relayed, ..reach } },
            Control::Sounding { number, bytes: u16::from(topic) * 40 },
            Control::Sounded { number, bytes: u16::from(topic) * 40 },
        ];
        for control in all {
            let bytes = control.emit();
            prop_assert_eq!(Control::parse(&bytes), Some(control));
        }
    }

    #[test]
    fn a_newer_router_may_say_more(number in any::<u32>(), roster in any::<[u8; 8]>(), more in vec(any::<u8>(), 0..9)) {
        let control = Control::Ping { number, roster };
        let bytes = [control.emit(), more].concat();
        prop_assert_eq!(Control::parse(&bytes), Some(control));
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Control::parse(&bytes);
        let _ = wire::decode::<Gossip>(GOSSIP_VERSION, &bytes);
        let _ = wire::decode::<crate::contact::Verdict>(1, &bytes);
        let _ = wire::decode::<crate::contact::Proof>(1, &bytes);
        let _ = crate::contact::Hello::parse(&bytes);
    }
}
