"""An XML-RPC server made of Python's standard library, and some that misbehave.

Says what it sees on its standard output, a JSON text a line; does what it is told on its
standard input, a word and its arguments a line.

    rpc_server.py [--port N] [--host H] [--http10] [--tls CERTIFICATE KEY]

says   {"port": N}                              it listens
       {"call": METHOD, "params": P, "conn": C} a call that the library understood
       {"request": HEAD, "body": B, "conn": C}  every request, as it came
       {"done": WORD}                           it did what it was told
told   answer ok|fault                          the library answers
       answer status N                          that status, with a good body
       answer redirect URL                      302 to that URL
       answer hang|drop|half|cut                nothing; the end; half an answer and nothing;
                                                half an answer and the end
       answer drip                              an answer, a byte every 100 ms
       answer garbage SEED                      answers that are changed at random
       count                                    says {"requests": N}
"""

import argparse
import json
import random
import socket
import socketserver
import ssl
import sys
import threading
import time
import xmlrpc.client
from xmlrpc.server import SimpleXMLRPCDispatcher, SimpleXMLRPCRequestHandler

GOOD = (b"<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value><boolean>1</boolean>"
        b"</value>\n</param>\n</params>\n</methodResponse>\n")
PIECES = [b"<", b">", b"&", b"<fault>", b"</params>", b"<![CDATA[", b"]]>", b"<!DOCTYPE a>", b"&x;",
          b"\0", b"\xff\xfe", b"\r\n", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"0\r\n\r\n", b"-1",
          b"99999999999999999999", b"Transfer-Encoding: chunked\r\n", b"x" * 5000, b"<a>" * 3000]

lock = threading.Lock()


def say(**what):
    with lock:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer, SimpleXMLRPCDispatcher):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 100

    def __init__(self, address, tls):
        SimpleXMLRPCDispatcher.__init__(self, allow_none=False, encoding=None)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.logRequests, self.mode, self.requests, self.conns = False, ["ok"], 0, 0
        self.tls = tls
        socketserver.TCPServer.__init__(self, address, Handler)

    def get_request(self):
        sock, address = super().get_request()
        if self.tls:
            sock = self.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return sock, address

    def handle_error(self, request, client_address):
        pass

    def _dispatch(self, method, params):
        say(call=method, params=list(params), conn=threading.current_thread().conn)
        if self.mode[0] == "fault":
            raise xmlrpc.client.Fault(4, "Too many parameters.")
        return True


class Handler(SimpleXMLRPCRequestHandler):
    rpc_paths = ()
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        with lock:
            self.server.conns += 1
            threading.current_thread().conn = self.server.conns

    def do_POST(self):
        with lock:
            self.server.requests += 1
            mode = list(self.server.mode)
        length = int(self.headers["content-length"])
        body = self.rfile.read(length)
        if mode[0] != "garbage":
            say(request=self.raw_requestline.decode() + str(self.headers), body=body.decode(),
                conn=threading.current_thread().conn)
        getattr(self, "do_" + mode[0])(body, *mode[1:])

    def do_ok(self, body):
        # The library reads the body itself.
        self.rfile = Replay(body, self.rfile)
        super().do_POST()
        self.rfile = self.rfile.inner

    do_fault = do_ok

    def reply(self, status, body, *headers):
        head = ["HTTP/1.1 %d Whatever" % status, "Content-Length: %d" % len(body), *headers]
        return ("\r\n".join(head) + "\r\n\r\n").encode() + body

    def do_status(self, _, status):
        self.wfile.write(self.reply(int(status), GOOD))

    def do_redirect(self, _, url):
        self.wfile.write(self.reply(302, b"", "Location: " + url))

    def do_hang(self, _):
        while self.server.mode[0] == "hang":
            time.sleep(0.01)
        self.close_connection = True

    def do_drop(self, _):
        self.close_connection = True

    def do_half(self, _):
        whole = self.reply(200, GOOD)
        self.wfile.write(whole[:len(whole) // 2])
        while self.server.mode[0] == "half":
            time.sleep(0.01)
        self.close_connection = True

    def do_cut(self, _):
        whole = self.reply(200, GOOD)
        self.wfile.write(whole[:len(whole) // 2])
        self.close_connection = True

    def do_drip(self, _):
        for byte in self.reply(200, GOOD):
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(0.1)

    def do_garbage(self, _, seed):
        with lock:
            number = self.server.requests
        rng = random.Random("%s %d" % (seed, number))
        whole = bytearray(self.reply(200, GOOD))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(whole) + 1)
            kind = rng.randrange(4)
            if kind == 0:
                del whole[at:]
            elif kind == 1 and at < len(whole):
                whole[at] = rng.randrange(256)
            elif kind == 2:
                whole[at:at] = rng.choice(PIECES)
            else:
                del whole[at:at + rng.randrange(1, 20)]
        self.wfile.write(bytes(whole))
        # What is announced and does not come must not keep the client waiting.
        self.close_connection = True


class Replay:
    """A body that was read, and the stream after it."""

    def __init__(self, body, inner):
        self.body, self.inner = body, inner

    def read(self, count=-1):
        part, self.body = self.body[:count], self.body[count:]
        return part

    def __getattr__(self, name):
        return getattr(self.inner, name)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--http10", action="store_true")
    parser.add_argument("--tls", nargs=2)
    arguments = parser.parse_args()
    tls = None
    if arguments.tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*arguments.tls)
    if arguments.http10:
        Handler.protocol_version = "HTTP/1.0"
    server = Server((arguments.host, arguments.port), tls)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say(port=server.server_address[1])
    for line in sys.stdin:
        words = line.split()
        if words[0] == "answer":
            server.mode = words[1:]
        elif words[0] == "count":
            say(requests=server.requests)
        say(done=words[0])


main()
