//! Small talkers and listeners that the tests run inside containers.
//!
//! Decides nothing: each verb does one thing with the kernel's sockets and prints what happened. Knows no Raddle.
#![forbid(unsafe_code)]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match *words.as_slice() {
        ["tcp-echo", listen] => tcp_echo(listen),
        ["tcp-stream", to, seconds] => tcp_stream(to.parse()?, seconds.parse()?),
        ["count", listen, every_ms] => count(listen, Duration::from_millis(every_ms.parse()?)),
        ["follow", to] => follow(to.parse()?),
        ["udp-echo", listen] => udp_echo(listen),
        ["udp-call", to, bytes] => udp_call(to.parse()?, bytes.parse()?),
        ["hear", listen] => hear(&UdpSocket::bind(listen)?),
        ["hear", listen, group] => hear_group(listen, group.parse()?),
        ["say", to, text] => say(to.parse()?, text),
        ["answer", listen, name] => answer(listen, name),
        ["call", to, name] => call_by_name(to.parse()?, name),
        ["fetch", to, path, every_ms] => fetch_forever(to.parse()?, path, Duration::from_millis(every_ms.parse()?)),
        ["time", ref command @ ..] => time(command),
        ["storm", verb, containers, program] => storm(verb, containers.parse()?, program, None),
        ["storm", verb, containers, program, kill_within_ms] => {
            storm(verb, containers.parse()?, program, Some(Duration::from_millis(kill_within_ms.parse()?)))
        }
        _ => bail!(
            "usage: probe tcp-echo|tcp-stream|count|follow|udp-echo|udp-call|hear|say|answer|call|fetch|time|storm …"
        ),
    }
}

/// Prints one line and makes sure that it is seen at once.
fn tell(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

/// Sends back every line of every connection.
fn tcp_echo(listen: &str) -> Result<()> {
    let listener = TcpListener::bind(listen)?;
    tell("ready")?;
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        thread::spawn(move || -> Result<()> {
            let mut back = stream.try_clone()?;
            let mut lines = BufReader::new(stream);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line)? > 0 {
                back.write_all(&line)?;
                line.clear();
            }
            Ok(())
        });
    }
    Ok(())
}

/// Keeps one connection busy with numbered lines; ends with the longest silence. Any break of the stream is an error.
fn tcp_stream(to: SocketAddr, seconds: u64) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
    stream.set_nodelay(true)?;
    // A router that comes back must do so within this; TCP itself would wait for many minutes.
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut lines = BufReader::new(stream.try_clone()?);
    tell("connected")?;
    let (start, mut count, mut longest) = (Instant::now(), 0_u64, Duration::ZERO);
    while start.elapsed() < Duration::from_secs(seconds) {
        let asked = Instant::now();
        let sent = format!("line {count} {PLAINTEXT}\n");
        stream.write_all(sent.as_bytes())?;
        let mut back = String::new();
        lines.read_line(&mut back)?;
        ensure!(back == sent, "sent {sent:?}, got back {back:?}");
        longest = longest.max(asked.elapsed());
        count += 1;
        thread::sleep(Duration::from_millis(5));
    }
    tell(&format!("{{\"lines\": {count}, \"longest_ms\": {}}}", longest.as_millis()))
}

/// Counts, from the start of this process on, to whoever is connected, and wants each number said back. A connection on
/// which anything else comes back is ended.
fn count(listen: &str, every: Duration) -> Result<()> {
    let listener = TcpListener::bind(listen)?;
    let next = Arc::new(AtomicU64::new(0));
    tell("ready")?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        stream.set_nodelay(true)?;
        let back = stream.try_clone()?;
        thread::spawn(move || {
            let _ = in_sequence(&back, |_| Ok(()));
            back.shutdown(Shutdown::Both)
        });
        let next = Arc::clone(&next);
        thread::spawn(move || -> Result<()> {
            loop {
                writeln!(stream, "{}", next.fetch_add(1, Ordering::Relaxed))?;
                thread::sleep(every);
            }
        });
    }
    Ok(())
}

/// Says back what a counter counts, over one connection, and prints when each number came. Any break is an error.
fn follow(to: SocketAddr) -> Result<()> {
    let stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
    stream.set_nodelay(true)?;
    // A process that moves must be back within this; TCP itself would wait for ever.
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    in_sequence(&stream, |number| {
        writeln!(&stream, "{number}")?;
        tell(&format!("{} ok {number}", SystemTime::UNIX_EPOCH.elapsed()?.as_millis()))
    })
}

/// Reads numbers, each greater by one than the last, until the stream ends, which is an error.
fn in_sequence(stream: &TcpStream, mut each: impl FnMut(u64) -> Result<()>) -> Result<()> {
    let mut last: Option<u64> = None;
    for line in BufReader::new(stream).lines() {
        let number = line?.parse()?;
        ensure!(last.is_none_or(|last| last + 1 == number), "{number} after {last:?}");
        each(number)?;
        last = Some(number);
    }
    bail!("the stream ended after {last:?}")
}

/// Sends every datagram back.
fn udp_echo(listen: &str) -> Result<()> {
    let socket = UdpSocket::bind(listen)?;
    tell("ready")?;
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        socket.send_to(buffer.get(..length).unwrap_or_default(), from)?;
    }
}

/// Sends one datagram of this size until the same bytes are back. Every byte differs from its neighbours, so that a piece
/// in the wrong place is noticed.
fn udp_call(to: SocketAddr, bytes: usize) -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let sent: Vec<u8> = (0..bytes).map(|at| u8::try_from(at.wrapping_mul(31) % 251).unwrap_or_default()).collect();
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    for attempt in 1..=5 {
        socket.send_to(&sent, to)?;
        if let Ok((length, _)) = socket.recv_from(&mut buffer) {
            ensure!(buffer.get(..length) == Some(&sent), "{length} bytes came back, and not the same");
            return tell(&format!("{{\"bytes\": {bytes}, \"attempts\": {attempt}}}"));
        }
    }
    bail!("no answer from {to} to {bytes} bytes")
}

/// Prints every datagram as a line.
fn hear(socket: &UdpSocket) -> Result<()> {
    tell("ready")?;
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
        tell(&format!("{} {text}", from.ip()))?;
    }
}

fn hear_group(listen: &str, group: Ipv4Addr) -> Result<()> {
    let socket = UdpSocket::bind(listen)?;
    socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED)?;
    hear(&socket)
}

/// Says one text to an address, a broadcast address or a group.
fn say(to: SocketAddr, text: &str) -> Result<()> {
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    if matches!(to.ip(), IpAddr::V4(_)) {
        socket.set_broadcast(true)?;
    }
    socket.send_to(text.as_bytes(), to)?;
    Ok(())
}

/// Answers whoever calls with this name, and prints every other name that it is called.
fn answer(listen: &str, name: &str) -> Result<()> {
    let socket = UdpSocket::bind(listen)?;
    tell("ready")?;
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        let called = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
        if called != name {
            tell(&format!("wrong {called}"))?;
        }
        socket.send_to(name.as_bytes(), from)?;
    }
}

/// Calls somebody by name until there is an answer, and prints whether it is the right one; then goes on calling, without
/// waiting.
fn call_by_name(to: SocketAddr, name: &str) -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    let answered = (0..50).find_map(|_| {
        let _ = socket.send_to(name.as_bytes(), to);
        socket.recv_from(&mut buffer).ok().map(|(length, _)| length)
    });
    let length = answered.with_context(|| format!("no answer from {to}"))?;
    match String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).as_ref() {
        right if right == name => tell("right")?,
        other => tell(&format!("wrong {other}"))?,
    }
    loop {
        // Once it has gone, the kernel may say so.
        let _ = socket.send_to(name.as_bytes(), to);
        thread::sleep(Duration::from_millis(5));
    }
}

/// Fetches over HTTP at a steady beat, whether or not the fetches before have ended, and prints how each one ended.
fn fetch_forever(to: SocketAddr, path: &str, every: Duration) -> Result<()> {
    let out = Arc::new(Mutex::new(()));
    let mut next = Instant::now();
    loop {
        let (out, path) = (Arc::clone(&out), path.to_owned());
        thread::spawn(move || {
            let fetched = fetch(to, &path);
            let now_ms = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
            let _one_at_a_time = out.lock();
            // The reader may have gone; then the next signal ends this process.
            let _ = match fetched {
                Ok(bytes) => tell(&format!("{now_ms} ok {bytes}")),
                Err(error) => tell(&format!("{now_ms} failed {error:#}")),
            };
        });
        next += every;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn fetch(to: SocketAddr, path: &str) -> Result<usize> {
    let mut stream = TcpStream::connect_timeout(&to, FETCH)?;
    stream.set_read_timeout(Some(FETCH))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = answer.get(..15).context("a short answer")?;
    ensure!(head == b"HTTP/1.0 200 OK" || head == b"HTTP/1.1 200 OK", "{}", String::from_utf8_lossy(head));
    Ok(answer.len())
}

/// Runs a command with this process's stdin as its stdin, and prints how long it took from start to end.
fn time(command: &[&str]) -> Result<()> {
    let (program, words) = command.split_first().context("no command")?;
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input)?;
    let start = Instant::now();
    let mut child = Command::new(program).args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&input)?;
    }
    let output = child.wait_with_output()?;
    let took = start.elapsed();
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    tell(&took.as_micros().to_string())
}

/// Runs a verb of a CNI plugin for containers `s0`, `s1`, … all at once, as a runtime does: each a child of this one process.
/// Prints for each how many microseconds it took and how it ended. With a time the children are killed, each at its own
/// moment within it.
fn storm(verb: &str, containers: u32, program: &str, kill_within: Option<Duration>) -> Result<()> {
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input)?;
    let lines = thread::scope(|scope| {
        let one = |number: u32| {
            let (start, mut child) = (Instant::now(), call(verb, number, program)?);
            let kill_after = kill_within.map(|within| within * number / containers.max(1));
            let mut stdin = child.stdin.take().context("no stdin")?;
            let input = &input;
            let waiting = scope.spawn(move || {
                // One that is killed reads no more.
                let _ = stdin.write_all(input);
                drop(stdin);
                if let Some(after) = kill_after {
                    thread::sleep(after.saturating_sub(start.elapsed()));
                    let _ = child.kill();
                }
                let output = child.wait_with_output()?;
                let end = if output.status.success() { "done" } else { "failed" };
                let said = String::from_utf8_lossy(&output.stdout).trim().replace('\n', " ");
                Ok::<_, anyhow::Error>(format!("{} {end} {said}", start.elapsed().as_micros()))
            });
            Ok::<_, anyhow::Error>(waiting)
        };
        let all = (0..containers).map(one).collect::<Result<Vec<_>>>()?;
        let ended = all.into_iter().map(|call| call.join().map_err(|_| anyhow::anyhow!("a thread has panicked"))?);
        ended.collect::<Result<Vec<_>>>()
    })?;
    lines.iter().try_for_each(|line| tell(line))
}

fn call(verb: &str, number: u32, program: &str) -> Result<std::process::Child> {
    let mut command = Command::new(program);
    command.env("CNI_COMMAND", verb).env("CNI_CONTAINERID", format!("s{number}"));
    command.env("CNI_NETNS", format!("/run/netns/s{number}")).env("CNI_IFNAME", "eth0");
    command.env("CNI_PATH", "/opt/cni/bin:/usr/lib/cni");
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?)
}

/// What no capture of the underlay may hold.
const PLAINTEXT: &str = "raddle-known-plaintext";
/// The largest UDP payload there is.
const LARGEST_DATAGRAM: usize = 65_535;
/// Shorter than the first retransmission of a SYN: a lost one is a failed fetch, not a late one.
const FETCH: Duration = Duration::from_millis(500);
