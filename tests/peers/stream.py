"""A receiver of JSON-RPC streams, as existing clients are: it finds the borders of the texts by
reading JSON at the very next byte, so that whatever stands between two texts is an error.

Says what it sees on its standard output, a JSON text a line; does what it is told on its
standard input, a word and its arguments a line. Python's standard library only.

    stream.py [--port N] [--host H] [--lines] [--rcvbuf BYTES] [--tls CERTIFICATE KEY]

says   {"port": N}                       it listens
       {"open": C}                       a connection, numbered from 1
       {"text": T, "conn": C}            one text, as it came
       {"bad": T, "conn": C}             bytes that are no text; it reads on at the next `{`
       {"closed": C, "rest": T}          the end of one, and what was left of a text
       {"done": WORD}                    it did what it was told
told   reply ok|error|none|late|shuffle N|garbage|half    how it answers requests from now on
       garbage N                         N replies that are none, to all connections
       pause, resume                     it reads nothing; it reads again
       sip N                             it reads so many bytes, once
       close, reset, blackhole           all connections: FIN, RST, or silence of the kernel
       deaf, hear                        it does not listen; it listens again
"""

import argparse
import ctypes
import json
import random
import selectors
import socket
import ssl
import struct
import sys
import threading

DECODER = json.JSONDecoder()
GARBAGE = [
    b"garbage ", b"{", b"}", b'{"id":', b'{"id":1,"result":}', b"[1,2,3]", b"null\n", b"\0\0\0",
    b'{"jsonrpc":"2.0","result":"OK","id":"7"}', b'{"jsonrpc":"2.0","result":"OK"}', b'"id"',
    b'{"id":99999999999999999999,"result":1}', b"\xff\xfe\xfd", b'{"result":"' + b"x" * 200 + b'\n',
    b"[" * 100, b'{"a":' * 50, b"HTTP/1.1 400 Bad Request\r\n\r\n", b'{"id":-1,"error":{}}', b"{}",
]


def say(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def shown(text):
    """What is no UTF-8 is shown as `?`."""
    return text.encode("utf-8", "replace").decode()


class Connection:
    def __init__(self, peer, number, sock):
        self.peer, self.number, self.sock = peer, number, sock
        self.buffer, self.held = b"", []

    def fileno(self):
        return self.sock.fileno()

    def read(self, room=1 << 16):
        try:
            data = self.sock.recv(room)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            data = b""
        if not data:
            return self.end()
        self.buffer += data
        if self.peer.lines:
            *whole, self.buffer = self.buffer.split(b"\n")
            for line in whole:
                self.take(line.decode())
        else:
            self.cut()

    def cut(self):
        text = self.buffer.decode("utf-8", "surrogateescape")
        at = 0
        while at < len(text):
            try:
                # As the clients of OpenSIPS do: no white space is skipped.
                _, end = DECODER.raw_decode(text, at)
            except ValueError:
                if text[at] == "{":
                    break
                skip = text.find("{", at)
                skip = len(text) if skip < 0 else skip
                say(bad=shown(text[at:skip]), conn=self.number)
                at = skip
                continue
            self.take(text[at:end])
            at = end
        self.buffer = text[at:].encode("utf-8", "surrogateescape")

    def take(self, text):
        say(text=text, conn=self.number)
        try:
            identity = json.loads(text).get("id")
        except ValueError:
            return
        if identity is not None:
            self.answer(identity)

    def answer(self, identity):
        mode, *rest = self.peer.mode
        reply = {"jsonrpc": "2.0", "result": "OK", "id": identity}
        if mode == "error":
            reply = {"jsonrpc": "2.0", "error": {"code": -32601, "message": "no"}, "id": identity}
        if mode == "garbage":
            return self.send(random.choice(GARBAGE))
        text = json.dumps(reply).encode()
        if mode == "half":
            text = text[: len(text) // 2]
        if mode in ("none", "late"):
            self.held.append(text)
        elif mode == "shuffle":
            self.held.append(text)
            if len(self.held) == int(rest[0]):
                random.shuffle(self.held)
                self.release()
        else:
            self.send(text)

    def release(self):
        self.send(b"".join(self.held))
        self.held = []

    def send(self, data):
        try:
            self.sock.setblocking(True)
            self.sock.sendall(data)
            self.sock.setblocking(False)
        except OSError:
            pass

    def end(self):
        self.peer.forget(self)
        say(closed=self.number, rest=self.buffer.decode("utf-8", "replace"))
        self.sock.close()


class Peer:
    def __init__(self, args):
        self.args, self.lines, self.mode = args, args.lines, ["ok"]
        self.connections, self.count, self.paused = [], 0, False
        self.selector = selectors.DefaultSelector()
        self.tls = None
        if args.tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*args.tls)
        self.words, wake = socket.socketpair()
        self.selector.register(self.words, selectors.EVENT_READ, self.told)
        threading.Thread(target=self.listen_to_words, args=(wake,), daemon=True).start()
        self.port, self.listener = args.port, None
        self.hear()

    def listen_to_words(self, wake):
        for line in sys.stdin:
            wake.sendall(line.encode())
        wake.close()

    def hear(self):
        family = socket.AF_INET6 if ":" in self.args.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.args.rcvbuf:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.args.rcvbuf)
        listener.bind((self.args.host, self.port))
        listener.listen(64)
        listener.setblocking(False)
        self.listener, self.port = listener, listener.getsockname()[1]
        self.selector.register(listener, selectors.EVENT_READ, self.accept)

    def deaf(self):
        self.selector.unregister(self.listener)
        self.listener.close()

    def accept(self):
        sock, _ = self.listener.accept()
        self.count += 1
        if self.tls:
            try:
                sock = self.tls.wrap_socket(sock, server_side=True)
            except (OSError, ssl.SSLError) as error:
                return say(refused=str(error))
        sock.setblocking(False)
        connection = Connection(self, self.count, sock)
        self.connections.append(connection)
        say(open=self.count)
        if not self.paused:
            self.selector.register(connection, selectors.EVENT_READ, connection.read)
            connection.read()

    def forget(self, connection):
        if not self.paused:
            self.selector.unregister(connection)
        self.connections.remove(connection)

    def told(self):
        data = self.words.recv(1 << 16)
        if not data:
            sys.exit(0)
        for line in data.decode().splitlines():
            word, *rest = line.split()
            self.obey(word, rest)
            say(done=word)

    def obey(self, word, rest):
        if word == "reply":
            self.mode = rest
        elif word == "release":
            for connection in self.connections:
                connection.release()
        elif word == "garbage":
            for connection in self.connections:
                connection.send(b"".join(random.choices(GARBAGE, k=int(rest[0]))))
        elif word == "pause":
            self.paused = True
            for connection in self.connections:
                self.selector.unregister(connection)
        elif word == "resume":
            self.paused = False
            for connection in self.connections:
                self.selector.register(connection, selectors.EVENT_READ, connection.read)
        elif word == "sip":
            for connection in self.connections:
                connection.read(int(rest[0]))
        elif word in ("close", "reset"):
            for connection in list(self.connections):
                if word == "reset":
                    linger = struct.pack("ii", 1, 0)
                    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                connection.end()
        elif word == "blackhole":
            for connection in self.connections:
                drop_all(connection.sock)
        elif word == "deaf":
            self.deaf()
        elif word == "hear":
            self.hear()
        else:
            raise ValueError(word)

    def run(self):
        say(port=self.port)
        while True:
            for key, _ in self.selector.select():
                # Another of this batch may have ended it, or a word paused it.
                if key in self.selector.get_map().values():
                    key.data()


def drop_all(sock):
    """The kernel drops every packet of this connection before TCP sees it: nobody acknowledges."""
    instruction = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF: ret #0
    code = ctypes.create_string_buffer(instruction, len(instruction))
    program = struct.pack("HxxxxxxP", 1, ctypes.addressof(code))
    attach_filter = 26
    sock.setsockopt(socket.SOL_SOCKET, attach_filter, program)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--lines", action="store_true")
    parser.add_argument("--rcvbuf", type=int, default=0)
    parser.add_argument("--tls", nargs=2)
    Peer(parser.parse_args()).run()


main()
