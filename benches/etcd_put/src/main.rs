//! Puts to etcd over gRPC: `etcd_put <writers> <seconds> <host:port>...` writes at the leader, then at a follower;
//! with 0 seconds it says by its exit whether there are both.
//!
//! The two messages it needs are written by hand over `h2`, so that the client costs little beside three servers on a small
//! machine; it prints its own share of the time. Each writer puts its own key again and again, 300 bytes, and waits.

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpStream;

const BODY_BYTES: usize = 300;
const WARM: Duration = Duration::from_secs(1);
/// Writers share these; one connection would be one thread's work at the server.
const CONNECTIONS_MAX: usize = 16;

type Failure = Box<dyn Error + Send + Sync>;

async fn connect(address: &str) -> Result<SendRequest<Bytes>, Failure> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) = h2::client::handshake(socket).await?;
    tokio::spawn(async move {
        // Err: whoever asks next is told.
        let _ = connection.await;
    });
    Ok(sender)
}

/// One question and its answer; a gRPC failure is an error.
async fn ask(sender: &SendRequest<Bytes>, method: &str, message: Bytes) -> Result<Bytes, Failure> {
    let mut sender = sender.clone().ready().await?;
    let request = Request::post(format!("http://etcd/etcdserverpb.{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (response, mut body) = sender.send_request(request, false)?;
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len())?);
    framed.put(message);
    body.send_data(framed.freeze(), true)?;
    let response = response.await?;
    let failed = |headers: &http::HeaderMap| headers.get("grpc-status").is_some_and(|status| status != "0");
    if failed(response.headers()) {
        return Err(format!("{:?}", response.headers()).into());
    }
    let mut body = response.into_body();
    let mut answer = BytesMut::new();
    while let Some(bytes) = body.data().await {
        let bytes = bytes?;
        body.flow_control().release_capacity(bytes.len())?;
        answer.extend(bytes);
    }
    match body.trailers().await? {
        Some(trailers) if !failed(&trailers) && answer.len() >= 5 => Ok(answer.freeze().slice(5..)),
        trailers => Err(format!("no good answer: {trailers:?}").into()),
    }
}

fn varint(to: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        to.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    to.put_u8(value as u8);
}

/// `PutRequest { key = 1, value = 2 }`.
fn put_request(key: &str) -> Bytes {
    let mut message = BytesMut::new();
    for (tag, bytes) in [(0x0a, key.as_bytes()), (0x12, &[b'x'; BODY_BYTES][..])] {
        message.put_u8(tag);
        varint(&mut message, bytes.len() as u64);
        message.put(bytes);
    }
    message.freeze()
}

/// The field of that number, if it is a number or bytes.
fn field(mut message: &[u8], wanted: u64) -> Option<(u64, &[u8])> {
    fn number(message: &mut &[u8]) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = message.split_first()?;
            *message = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
    while !message.is_empty() {
        let tag = number(&mut message)?;
        let value = number(&mut message)?;
        let bytes = if tag & 7 == 2 { message.split_off(..usize::try_from(value).ok()?)? } else { &[] };
        if tag >> 3 == wanted {
            return Some((value, bytes));
        }
    }
    None
}

/// `StatusResponse { header = 1 { member_id = 2 }, leader = 4 }`.
async fn leads(address: &str) -> Result<bool, Failure> {
    let status = ask(&connect(address).await?, "Maintenance/Status", Bytes::new()).await?;
    let (_, header) = field(&status, 1).ok_or("no header")?;
    let leader = field(&status, 4).map(|(leader, _)| leader);
    Ok(leader.is_some() && leader == field(header, 2).map(|(member, _)| member))
}

/// Of this process, all threads.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // In hundredths: utime and stime.
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}

async fn write(address: &str, writers: usize, seconds: Duration) -> Result<String, Failure> {
    let mut connections = Vec::new();
    for _ in 0..writers.min(CONNECTIONS_MAX) {
        connections.push(connect(address).await?);
    }
    let (begin, cpu) = (Instant::now() + WARM, cpu_seconds()?);
    let end = begin + seconds;
    let tasks: Vec<_> = (0..writers)
        .map(|number| {
            let sender = connections[number % connections.len()].clone();
            let request = put_request(&format!("session/{number}"));
            tokio::spawn(async move {
                let mut times = Vec::new();
                loop {
                    let before = Instant::now();
                    ask(&sender, "KV/Put", request.clone()).await?;
                    let after = Instant::now();
                    if after >= end {
                        return Ok::<_, Failure>(times);
                    }
                    if after >= begin {
                        times.push(after - before);
                    }
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    all.sort();
    let at = |percent: usize| all[(all.len() - 1) * percent / 100].as_micros();
    let share = (cpu_seconds()? - cpu) / (WARM + seconds).as_secs_f64();
    let rate = all.len() as f64 / seconds.as_secs_f64();
    Ok(format!("{rate:>9.0} | {:>6} | {:>6} | {share:.2}", at(50), at(99)))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [writers, seconds, addresses @ ..] = &arguments[..] else { return Err("writers, seconds, addresses".into()) };
    let (writers, seconds) = (writers.parse()?, Duration::from_secs(seconds.parse()?));
    let mut places = [None, None];
    for address in addresses {
        places[usize::from(!leads(address).await?)] = Some(address);
    }
    if seconds.is_zero() {
        return if places.iter().all(Option::is_some) { Ok(()) } else { Err("not ready".into()) };
    }
    for (place, address) in [("leader", places[0]), ("follower", places[1])] {
        let told = write(address.ok_or("no leader or no follower")?, writers, seconds).await?;
        println!("| {writers:>7} | {place:<8} | {told} |");
    }
    Ok(())
}
