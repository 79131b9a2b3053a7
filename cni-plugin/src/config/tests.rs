use super::*;

fn config(keys: &str) -> Config {
    let text = format!(r#"{{"cniVersion":"1.1.0","name":"mesh","type":"raddle-cni"{keys}}}"#);
    Config::parse(text.as_bytes()).unwrap()
}

fn code(keys: &str) -> (Code, String) {
    let fault = config(keys).settings().unwrap_err();
    (fault.code, fault.message)
}

#[test]
fn what_is_not_said_has_its_default() {
    let config = config("");
    let settings = config.settings().unwrap();
    assert_eq!(settings.hold_s, None);
    assert_eq!(settings.mtu_bytes, None);
    assert!(settings.default_gateway);
    assert_eq!(settings.routes, []);
    assert_eq!(settings.dns, serde_json::json!({}));
    let place = config.place(&|_| None).unwrap();
    assert_eq!(place.network, "raddle");
    assert_eq!(place.control_socket, PathBuf::from("/run/raddle/control.sock"));
    assert_eq!(place.spool, PathBuf::from("/var/lib/raddle/spool"));
}

#[test]
fn the_configuration_beats_the_environment_and_that_the_default() {
    let environment = |name: &str| match name {
        "RADDLE_DATA_DIR" => Some("/tmp/a".into()),
        "RADDLE_CONTROL_SOCKET" => Some("/tmp/a.sock".into()),
        _ => None,
    };
    let place = config("").place(&environment).unwrap();
    assert_eq!((place.control_socket, place.spool), ("/tmp/a.sock".into(), "/tmp/a/spool".into()));
    let keys = r#","dataDir":"/tmp/b","controlSocket":"/tmp/b.sock","network":"blue""#;
    let place = config(keys).place(&environment).unwrap();
    assert_eq!((place.control_socket, place.spool), ("/tmp/b.sock".into(), "/tmp/b/spool".into()));
    assert_eq!(place.network, "blue");
    assert_eq!(config(r#","dataDir":"here""#).place(&environment).unwrap_err().code, Code::Config);
    assert_eq!(config(r#","controlSocket":7"#).place(&environment).unwrap_err().code, Code::Decode);
}

#[test]
fn a_hold_is_seconds_or_forever() {
    let hold = |value: &str| config(&format!(r#","hold":{value}"#)).settings().map(|settings| settings.hold_s);
    assert_eq!(hold("0").unwrap(), Some(0));
    assert_eq!(hold("600").unwrap(), Some(600));
    assert_eq!(hold(r#""forever""#).unwrap(), Some(u64::MAX));
    assert_eq!(hold("null").unwrap(), None);
    for bad in ["-1", "1.5", r#""10m""#, "[]"] {
        assert_eq!(hold(bad).unwrap_err().code, Code::Decode, "{bad}");
    }
}

#[test]
fn an_mtu_is_a_number_that_an_interface_can_have() {
    let mtu = |value: &str| config(&format!(r#","mtu":{value}"#)).settings().map(|settings| settings.mtu_bytes);
    assert_eq!(mtu("0").unwrap(), None);
    assert_eq!(mtu("900").unwrap(), Some(900));
    assert_eq!(mtu("60").unwrap_err().code, Code::Config);
    assert_eq!(mtu("99999").unwrap_err().code, Code::Config);
    let wrong = mtu(r#""big""#).unwrap_err();
    assert_eq!(wrong.code, Code::Decode);
    assert!(wrong.message.contains("mtu") && wrong.message.contains("big"), "{wrong:?}");
}

#[test]
fn flags_are_those_of_other_plugins() {
    let flags = |more: &str| {
        let settings = config(more).settings().unwrap();
        (settings.default_gateway, settings.masquerade, settings.hairpin)
    };
    assert_eq!(flags(""), (true, false, true));
    assert_eq!(flags(r#","ipMasq":true,"hairpinMode":false"#), (true, true, false));
    assert_eq!(flags(r#","isGateway":false"#), (false, false, true));
    assert_eq!(flags(r#","isGateway":false,"isDefaultGateway":true"#), (true, false, true));
    assert_eq!(flags(r#","isDefaultGateway":false"#), (false, false, true));
}

#[test]
fn a_value_that_is_not_supported_is_named_with_its_key() {
    let (wrong, message) = code(r#","isDefaultGateway":"yes please""#);
    assert_eq!(wrong, Code::Unsupported);
    assert!(message.contains("isDefaultGateway") && message.contains("yes please"), "{message}");
    assert_eq!(code(r#","ipam":{"type":"../x"}"#).0, Code::Config);
    assert_eq!(code(r#","ipam":{"type":7}"#).0, Code::Unsupported);
    for fine in [r#","ipam":{}"#, r#","ipam":null"#, r#","ipam":{"type":""}"#, r#","ipam":{"type":"raddle"}"#] {
        assert!(config(fine).settings().is_ok(), "{fine}");
        assert_eq!(config(fine).delegate_name(), Ok(None), "{fine}");
    }
    assert_eq!(config(r#","ipam":{"type":"host-local"}"#).delegate_name(), Ok(Some("host-local")));
}

#[test]
fn what_another_plugin_asks_of_us_stands_in_its_ipam_section() {
    let text = r#"{"cniVersion":"1.0.0","name":"lan","type":"bridge","mtu":"its own","isGateway":true,"routes":7,
                   "ipam":{"type":"raddle-cni","network":"blue","hold":5,"subnet":"x","routes":[{"dst":"192.0.2.0/24"}]}}"#;
    let config = Config::parse(text.as_bytes()).unwrap();
    assert_eq!((config.role, config.delegate_name()), (Role::Ipam, Ok(None)));
    let settings = config.settings().unwrap();
    assert_eq!((settings.hold_s, settings.mtu_bytes, settings.routes.len()), (Some(5), None, 1));
    assert_eq!(config.place(&|_| None).unwrap().network, "blue");
    assert_eq!(config.unknown_keys(), [""; 0]);
}

#[test]
fn routes_have_a_destination_and_perhaps_a_gateway_of_its_family() {
    let routes = |value: &str| config(&format!(r#","routes":{value}"#)).settings().map(|settings| settings.routes);
    let found = routes(r#"[{"dst":"192.0.2.0/24"},{"dst":"fd00::/8","gw":"fd00:32::1"}]"#).unwrap();
    assert_eq!(found[0], WantedRoute { destination: "192.0.2.0/24".parse().unwrap(), gateway: None });
    assert_eq!(found[1].gateway, Some("fd00:32::1".parse().unwrap()));
    for bad in [r#"[{}]"#, r#"["x"]"#, r#"[{"dst":"x"}]"#, r#"[{"dst":"192.0.2.0/24","gw":"fd00::1"}]"#] {
        assert_eq!(routes(bad).unwrap_err().code, Code::Config, "{bad}");
    }
    assert_eq!(routes("{}").unwrap_err().code, Code::Decode);
}

#[test]
fn keys_of_others_are_noticed_and_our_own_are_not() {
    let keys = r#","controlsocket":"/x","mtu":1,"capabilities":{},"args":{},"cni.dev/x":1,"bridge":"b""#;
    assert_eq!(config(keys).unknown_keys(), ["bridge", "controlsocket"]);
}
