//! SQS as moto's server plays it, a proxy before it that does harm, and a receiver that is not
//! ours: plain HTTP.

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value as Json;
use serde_json::json;

use super::eventually;
use super::ports::free_ports;
use super::wait_for;

/// The server. Killed when dropped.
pub(crate) struct Moto {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Moto {
    pub(crate) fn new() -> Self {
        let [port] = free_ports();
        Self::at(([127, 0, 0, 1], port).into())
    }

    pub(crate) fn at(address: SocketAddr) -> Self {
        let program = std::env::var("BELLWIRE_MOTO");
        let program = program.expect("the path of moto_server in BELLWIRE_MOTO: use tests/sqs/run");
        let process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { process, address };
        eventually("moto", || TcpStream::connect(address).is_ok());
        server
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().ok();
        self.process.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let process = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(process, signal).unwrap();
    }

    /// Makes a queue; gives its URL.
    pub(crate) fn queue(&self, name: &str) -> String {
        let mut attributes = json!({});
        if name.ends_with(".fifo") {
            attributes = json!({"FifoQueue": "true"});
        }
        let made = self.ask(
            "CreateQueue",
            &json!({"QueueName": name, "Attributes": attributes}),
        );
        made["QueueUrl"].as_str().unwrap().to_owned()
    }

    /// So many messages of the queue, whose receipt is confirmed.
    pub(crate) fn receive(&self, url: &str, count: usize) -> Vec<Json> {
        let mut found = Vec::new();
        wait_for("messages", || {
            found.extend(self.some(url));
            (found.len() >= count).then_some(())
        });
        found
    }

    /// What there is now, at most ten.
    pub(crate) fn some(&self, url: &str) -> Vec<Json> {
        let all = json!({
            "QueueUrl": url,
            "MaxNumberOfMessages": 10,
            "MessageAttributeNames": ["All"],
            "AttributeNames": ["All"],
        });
        let answer = self.ask("ReceiveMessage", &all);
        let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
        for message in &messages {
            let handle = &message["ReceiptHandle"];
            self.ask(
                "DeleteMessage",
                &json!({"QueueUrl": url, "ReceiptHandle": handle}),
            );
        }
        messages
    }

    fn ask(&self, action: &str, body: &Json) -> Json {
        let body = body.to_string();
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: {}\r\nX-Amz-Target: AmazonSQS.{action}\r\n\
             Content-Type: application/x-amz-json-1.0\r\nConnection: close\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, \
             SignedHeaders=host, Signature=0\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        serde_json::from_str(body).unwrap_or(Json::Null)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a proxy does with an exchange: it has the request, and may ask the server for its answer.
type Rule = dyn Fn(&Request, &dyn Fn() -> Vec<u8>) -> Option<Vec<u8>> + Send + Sync;

/// A request as it came.
pub(crate) struct Request {
    pub(crate) whole: Vec<u8>,
    pub(crate) body: Json,
}

/// Stands before the server, keeps what is asked, and answers as its rule says.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Json>>>,
}

impl Proxy {
    /// `rule` gives the answer to a request, or none to break the connection.
    pub(crate) fn new(
        to: SocketAddr,
        rule: impl Fn(&Request, &dyn Fn() -> Vec<u8>) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Json>>>::default();
        let (kept, rule): (_, Arc<Rule>) = (Arc::clone(&seen), Arc::new(rule));
        // They end with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (kept, rule) = (Arc::clone(&kept), Arc::clone(&rule));
                std::thread::spawn(move || serve(stream, to, &kept, &*rule));
            }
        });
        Self { address, seen }
    }

    /// The bodies of all requests so far.
    pub(crate) fn seen(&self) -> Vec<Json> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, to: SocketAddr, seen: &Mutex<Vec<Json>>, rule: &Rule) {
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    while let Some(whole) = message(&mut stream) {
        let at = find(&whole, b"\r\n\r\n").unwrap() + 4;
        let body = serde_json::from_slice(&whole[at..]).unwrap_or(Json::Null);
        let request = Request { whole, body };
        seen.lock().unwrap().push(request.body.clone());
        let forward = || {
            let mut server = TcpStream::connect(to).unwrap();
            server.write_all(&request.whole).unwrap();
            message(&mut server).unwrap_or_default()
        };
        let Some(answer) = rule(&request, &forward) else {
            return;
        };
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

/// One HTTP message with a length.
fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        if let Some(at) = find(&bytes, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..at]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |text| text.trim().parse().unwrap());
            if bytes.len() >= at + 4 + length {
                return Some(bytes);
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|part| part == what)
}

/// An answer of that status.
pub(crate) fn answer(status: &str, body: &Json) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.0\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
