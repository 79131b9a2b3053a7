use super::*;

#[test]
fn pairs_are_taken_apart() {
    let arguments = Arguments::parse(Some("IP=10.32.0.9;MAC=02:00:00:00:00:09;RADDLE_WORKLOAD=db")).unwrap();
    assert_eq!(arguments.ip.as_deref(), Some("10.32.0.9"));
    assert_eq!(arguments.mac.as_deref(), Some("02:00:00:00:00:09"));
    assert_eq!(arguments.workload.as_deref(), Some("db"));
    assert_eq!(Arguments::parse(None).unwrap(), Arguments::default());
}

#[test]
fn a_pod_is_named_by_namespace_and_name_or_by_podman() {
    let pod = |text| Arguments::parse(Some(text)).unwrap().pod();
    assert_eq!(pod("K8S_POD_NAMESPACE=shop;K8S_POD_NAME=db-0").as_deref(), Some("shop/db-0"));
    assert_eq!(pod("IgnoreUnknown=1;K8S_POD_NAME=web").as_deref(), Some("web"));
    assert_eq!(pod("K8S_POD_NAMESPACE=shop"), None);
    assert_eq!(pod("K8S_POD_NAME="), None);
    let cri = "IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;K8S_POD_INFRA_CONTAINER_ID=c;K8S_POD_UID=d";
    assert_eq!(pod(cri).as_deref(), Some("a/b"));
}

#[test]
fn an_unknown_key_needs_permission_wherever_it_stands() {
    let refused = Arguments::parse(Some("FOO=bar;IP=10.0.0.1")).unwrap_err();
    assert_eq!(refused.code, Code::Environment);
    assert!(refused.message.contains("FOO=bar"), "{refused:?}");
    for text in ["FOO=bar;IgnoreUnknown=1", "IgnoreUnknown=TRUE;FOO=bar", "IgnoreUnknown=true;ip=x"] {
        assert!(Arguments::parse(Some(text)).is_ok(), "{text}");
    }
    assert!(Arguments::parse(Some("IgnoreUnknown=0;FOO=bar")).is_err());
    assert!(Arguments::parse(Some("ip=10.0.0.1")).is_err(), "keys have a case");
}

#[test]
fn what_is_no_pair_is_refused() {
    for text in ["FOO", "FOO=a=b", ";", "IP=10.0.0.1;", "IgnoreUnknown=maybe", "=;=;=="] {
        assert_eq!(Arguments::parse(Some(text)).unwrap_err().code, Code::Environment, "{text}");
    }
}
