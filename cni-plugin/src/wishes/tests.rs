use super::*;

fn gather(keys: &str, arguments: &str) -> Result<Wishes, Fault> {
    let text = format!(r#"{{"cniVersion":"1.1.0","name":"mesh","type":"raddle-cni"{keys}}}"#);
    let config = Config::parse(text.as_bytes()).unwrap();
    let arguments = Arguments::parse(Some(arguments).filter(|arguments| !arguments.is_empty())).unwrap();
    Wishes::gather(&config, &arguments)
}

fn address(text: &str) -> Option<Ipv4Addr> {
    Some(text.parse().unwrap())
}

#[test]
fn the_runtime_beats_the_convention_and_that_the_arguments() {
    let runtime = r#","runtimeConfig":{"ips":["10.32.0.1/12"],"mac":"02:00:00:00:00:01"}"#;
    let convention = r#","args":{"cni":{"ips":["10.32.0.2"],"mac":"02:00:00:00:00:02"}}"#;
    let arguments = "IP=10.32.0.3/12;MAC=02:00:00:00:00:03";
    let wishes = gather(&format!("{runtime}{convention}"), arguments).unwrap();
    assert_eq!((wishes.address, wishes.mac), (address("10.32.0.1"), Some([2, 0, 0, 0, 0, 1])));
    let wishes = gather(convention, arguments).unwrap();
    assert_eq!((wishes.address, wishes.mac), (address("10.32.0.2"), Some([2, 0, 0, 0, 0, 2])));
    let wishes = gather("", arguments).unwrap();
    assert_eq!((wishes.address, wishes.mac), (address("10.32.0.3"), Some([2, 0, 0, 0, 0, 3])));
    assert_eq!(gather("", "").unwrap(), Wishes::default());
}

#[test]
fn what_is_overruled_is_not_looked_at() {
    let runtime = r#","runtimeConfig":{"ips":["10.32.0.1"],"mac":"02:00:00:00:00:01"}"#;
    let wishes = gather(runtime, "IP=banana;MAC=banana").unwrap();
    assert_eq!((wishes.address, wishes.mac), (address("10.32.0.1"), Some([2, 0, 0, 0, 0, 1])));
    let wishes = gather(r#","runtimeConfig":{"ips":[],"mac":""}"#, "IP=10.32.0.3").unwrap();
    assert_eq!((wishes.address, wishes.mac), (address("10.32.0.3"), None), "an empty wish is none");
}

fn annotated(annotations: &str) -> String {
    format!(r#""io.kubernetes.cri.pod-annotations":{{{annotations}}}"#)
}

#[test]
fn annotations_of_the_pod_come_after_the_capabilities_and_before_everything_else() {
    let all = annotated(
        r#""raddle.ip":"10.32.0.4, fd00::4","raddle.mac":"02:00:00:00:00:04","raddle.workload":"shop/db","raddle.take-over":"true","a":7"#,
    );
    let convention = r#""args":{"cni":{"ips":["10.32.0.2"],"mac":"02:00:00:00:00:02"}}"#;
    let arguments = "IP=10.32.0.3;MAC=02:00:00:00:00:03;RADDLE_WORKLOAD=other";
    let wishes = gather(&format!(r#","runtimeConfig":{{{all}}},{convention}"#), arguments).unwrap();
    assert_eq!((wishes.address, wishes.mac), (address("10.32.0.4"), Some([2, 0, 0, 0, 0, 4])));
    assert_eq!((wishes.address6, wishes.workload.as_deref()), (Some("fd00::4".parse().unwrap()), Some("shop/db")));
    assert!(wishes.take_over);
    let capabilities = r#""ips":["10.32.0.1"],"mac":"02:00:00:00:00:01""#;
    let wishes = gather(&format!(r#","runtimeConfig":{{{capabilities},{all}}}"#), arguments).unwrap();
    assert_eq!((wishes.address, wishes.mac), (address("10.32.0.1"), Some([2, 0, 0, 0, 0, 1])));
    let empty = annotated(r#""raddle.ip":"","raddle.mac":" ","raddle.workload":"""#);
    let wishes = gather(&format!(r#","runtimeConfig":{{{empty}}}"#), arguments).unwrap();
    assert_eq!((wishes.address, wishes.mac), (address("10.32.0.3"), Some([2, 0, 0, 0, 0, 3])), "an empty wish is none");
    for (wrong, code) in [
        (r#""raddle.ip":"x""#, Code::Config),
        (r#""raddle.ip":7"#, Code::Decode),
        (r#""raddle.mac":"x""#, Code::Config),
    ] {
        let refused = gather(&format!(r#","runtimeConfig":{{{}}}"#, annotated(wrong)), "").unwrap_err();
        assert_eq!(refused.code, code, "{wrong}");
        assert!(refused.message.contains("annotation"), "{refused:?}");
    }
}

#[test]
fn one_address_of_each_family_can_be_had() {
    let wishes = gather(r#","runtimeConfig":{"IPs":["10.32.0.1","fd00::5/64"]}"#, "").unwrap();
    assert_eq!((wishes.address, wishes.address6), (address("10.32.0.1"), Some("fd00::5".parse().unwrap())));
    let refused = gather(r#","runtimeConfig":{"ips":["10.32.0.1","10.32.0.2/12"]}"#, "").unwrap_err();
    assert_eq!(refused.code, Code::Config);
    assert!(refused.message.contains("10.32.0.2"), "{refused:?}");
}

#[test]
fn a_wish_that_cannot_be_read_is_an_error_of_the_place_it_stands_in() {
    let cases = [
        ("", "IP=banana", Code::Environment),
        ("", "IP=10.0.0.1/33", Code::Environment),
        ("", "MAC=banana", Code::Config),
        ("", "MAC=01:00:5e:00:00:01", Code::Config),
        ("", "MAC=02:00:00:00:00", Code::Config),
        ("", "MAC=02:00:00:00:00:01:02", Code::Config),
        ("", "MAC=00:00:00:00:00:00", Code::Config),
        ("", "MAC=+2:00:00:00:00:01", Code::Config),
        (r#","runtimeConfig":{"ips":["banana"]}"#, "", Code::Config),
        (r#","runtimeConfig":{"ips":[7]}"#, "", Code::Config),
        (r#","runtimeConfig":{"ips":"10.0.0.1"}"#, "", Code::Decode),
        (r#","runtimeConfig":{"mac":7}"#, "", Code::Decode),
        (r#","args":{"cni":{"mac":"ff:ff:ff:ff:ff:ff"}}"#, "", Code::Config),
        (r#","args":{"cni":{"labels":7}}"#, "", Code::Decode),
        (r#","args":{"cni":{"labels":[{"key":"raddle.workload","value":7}]}}"#, "", Code::Config),
        (r#","args":{"cni":{"labels":[{"key":"raddle.workload","value":""}]}}"#, "", Code::Config),
        ("", "RADDLE_WORKLOAD=", Code::Environment),
        ("", "RADDLE_WORKLOAD=a\nb", Code::Environment),
    ];
    for (keys, arguments, expected) in cases {
        assert_eq!(gather(keys, arguments).unwrap_err().code, expected, "{keys} {arguments}");
    }
}

#[test]
fn an_orchestrator_takes_over_where_it_says_so() {
    let label =
        |value: &str| format!(r#","args":{{"cni":{{"labels":[{{"key":"raddle.take-over","value":"{value}"}}]}}}}"#);
    let take_over = |keys: &str, arguments: &str| gather(keys, arguments).unwrap().take_over;
    assert!(!take_over("", ""));
    assert!(take_over(&label("true"), "RADDLE_TAKE_OVER=0"));
    assert!(take_over("", "RADDLE_TAKE_OVER=1"));
    assert!(take_over(r#","takeOver":true"#, ""));
    assert!(!take_over(&format!(r#"{},"takeOver":true"#, label("false")), "RADDLE_TAKE_OVER=1"));
    assert_eq!(gather(&label("maybe"), "").unwrap_err().code, Code::Config);
}

#[test]
fn the_workload_is_the_label_then_the_argument_then_the_pod() {
    let label = r#","args":{"cni":{"labels":[{"key":"x","value":"y"},{"key":"raddle.workload","value":"db"}]}}"#;
    let pod = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=db-0";
    let workload = |keys, arguments: &str| gather(keys, arguments).unwrap().workload;
    assert_eq!(workload(label, &format!("RADDLE_WORKLOAD=other;{pod}")).as_deref(), Some("db"));
    assert_eq!(workload("", &format!("RADDLE_WORKLOAD=other;{pod}")).as_deref(), Some("other"));
    assert_eq!(workload("", pod).as_deref(), Some("shop/db-0"));
    assert_eq!(workload("", "IgnoreUnknown=1;K8S_POD_NAME=web").as_deref(), Some("web"));
    assert_eq!(workload(r#","args":{"cni":{"labels":[]}}"#, ""), None);
}

#[test]
fn a_mac_is_written_as_it_is_read() {
    for text in ["02:00:00:00:00:05", "0a:bc:de:f0:12:34"] {
        assert_eq!(mac_text(parse_mac(text).unwrap()), text);
    }
    assert_eq!(parse_mac("0A:BC:DE:F0:12:34"), parse_mac("0a:bc:de:f0:12:34"));
}
