//! Calls of the CNI plugin, as a runtime's environment and what it writes to stdin.

use crate::seeds::Seed;

/// Calls as runtimes make them: the environment, an empty line, the configuration.
pub(crate) fn cni_calls() -> Vec<Seed> {
    let environment = |verb: &str, args: &str| {
        format!(
            "CNI_COMMAND={verb}\nCNI_CONTAINERID=c0ffee\nCNI_NETNS=/run/netns/x\nCNI_IFNAME=eth0\nCNI_PATH=/bin\nCNI_ARGS={args}"
        )
    };
    let network = r#""cniVersion":"1.1.0","name":"mesh","type":"raddle-cni""#;
    let result = r#""prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"raddle0"},{"name":"eth0","mac":"02:00:00:00:00:05","mtu":1389,"sandbox":"/run/netns/x"}],"ips":[{"address":"10.32.0.5/12","gateway":"10.32.0.1","interface":1},{"address":"fd00::5/64","interface":1}],"routes":[{"dst":"0.0.0.0/0","gw":"10.32.0.1"},{"dst":"::/0","gw":"fd00::1"}],"dns":{}}"#;
    let keys = r#""network":"raddle","controlSocket":"/run/r.sock","dataDir":"/var/lib/r","hold":"forever","mtu":1300,"ipMasq":true,"isGateway":true,"isDefaultGateway":false,"hairpinMode":false,"routes":[{"dst":"192.0.2.0/24","gw":"10.32.0.9"}],"dns":{"nameservers":["10.32.0.1"]},"capabilities":{"ips":true}"#;
    let wishes = r#""runtimeConfig":{"ips":["10.32.0.9","fd00::9/64"],"mac":"02:00:00:00:00:09","aliases":{"mesh":["a"]}},"args":{"cni":{"ips":["10.32.0.9/12"],"mac":"02:00:00:00:00:09","labels":[{"key":"raddle.workload","value":"shop/db"}]}}"#;
    let valid = r#""cni.dev/valid-attachments":[{"containerID":"c0ffee","ifname":"eth0"}],"cni.dev/attachments":[]"#;
    let pod = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=db-0;K8S_POD_UID=7";
    let wanted = "IP=10.32.0.9/12;MAC=02:00:00:00:00:09;RADDLE_WORKLOAD=shop/db";
    [
        ("add", environment("ADD", pod), format!("{{{network},{keys}}}")),
        ("add-wishes", environment("ADD", wanted), format!("{{{network},{wishes}}}")),
        ("add-chained", environment("ADD", ""), format!("{{{network},{result}}}")),
        (
            "allocate",
            environment("ADD", ""),
            r#"{"cniVersion":"1.0.0","name":"lan","type":"bridge","ipam":{"type":"raddle-cni","hold":7,"ranges":[]}}"#
                .into(),
        ),
        ("del", environment("DEL", ""), format!("{{{network},{result}}}")),
        ("check", environment("CHECK", ""), format!("{{{network},{result}}}")),
        ("gc", environment("GC", ""), format!("{{{network},{valid}}}")),
        ("status", environment("STATUS", ""), format!("{{{network}}}")),
        ("version", environment("VERSION", ""), r#"{"cniVersion":"0.4.0"}"#.into()),
    ]
    .map(|(name, environment, stdin)| {
        ("cni-call", String::from(name), format!("{environment}\n\n{stdin}").into_bytes())
    })
    .into()
}
