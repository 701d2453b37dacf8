"""Drives the client library of the OpenSIPS project (PyPI `opensips`) against a running daemon."""

import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from opensips.event import OpenSIPSEventHandler
from opensips.mi import OpenSIPSMI, OpenSIPSMIException

EVENT = "E_PIKE_BLOCKED"


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]




class Daemon:
    def __init__(self, program, directory):
        self.http = free_port(socket.SOCK_STREAM)
        self.udp = free_port(socket.SOCK_DGRAM)
        self.directory = directory
        config = os.path.join(directory, "bellwire.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(
                f'[mi.http]\nlisten = "127.0.0.1:{self.http}"\n'
                f'[mi.fifo]\nreply_dir = "{directory}"\n'
                f'[mi.datagram]\nlisten = ["unix:mi.sock", "udp:127.0.0.1:{self.udp}"]\n'
            )
        self.process = subprocess.Popen(
            [program, "serve", "--config", config],
            env={**os.environ, "BELLWIRE_RUN_DIR": directory},
            stdout=subprocess.PIPE,
            text=True,
        )
        for line in self.process.stdout:
            if "events known" in line:
                break

    def interfaces(self):
        at = os.path.join
        yield "fifo", OpenSIPSMI(
            "fifo",
            fifo_file=at(self.directory, "mi.fifo"),
            fifo_file_fallback=at(self.directory, "mi.fifo"),
            fifo_reply_dir=self.directory,
        )
        yield "http", OpenSIPSMI("http", url=f"http://127.0.0.1:{self.http}/mi")
        yield "datagram udp", OpenSIPSMI(
            "datagram", datagram_ip="127.0.0.1", datagram_port=self.udp, datagram_timeout=30
        )
        yield "datagram unix", OpenSIPSMI(
            "datagram", datagram_unix_socket=at(self.directory, "mi.sock"), datagram_timeout=30
        )

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0, "the daemon ended badly"


def sockets(mi):
    listed = mi.execute("subscribers_list", [EVENT])["Event"]
    return [entry["socket"] for entry in listed.get("Subscribers", [])]


def use(mi):
    names = [entry["name"] for entry in mi.execute("events_list")["Events"]]
    assert EVENT in names, names
    assert "evi:subscribe" in mi.execute("which")
    assert "Server" in mi.execute("version")

    heard = queue.Queue()
    handler = OpenSIPSEventHandler(mi, "datagram", ip="127.0.0.1")
    event = handler.subscribe(EVENT, heard.put, expire=30)
    name = event.socket.sock_name
    assert sockets(mi) == [name]

    assert mi.execute("raise_event", [EVENT, ["192.168.2.11", "a\nb"]]) == "OK"
    received = heard.get(timeout=30)
    assert received["method"] == EVENT, received
    assert received["params"] == ["192.168.2.11", "a\nb"], received

    # Renewed, not doubled: one raise, one notification.
    assert mi.execute("event_subscribe", [EVENT, name, 60]) == "OK"
    assert sockets(mi) == [name]
    assert mi.execute("raise_event", {"event": EVENT, "params": '{"ip":"10.0.0.1","n":7}'}) == "OK"
    assert heard.get(timeout=30)["params"] == {"ip": "10.0.0.1", "n": 7}
    assert heard.empty()

    handler.unsubscribe(EVENT)
    assert sockets(mi) == []
    try:
        mi.execute("event_subscribe", ["E_NO_SUCH_EVENT", name])
        raise AssertionError("an unknown event was subscribed")
    except OpenSIPSMIException as error:
        assert "Bad parameter value" in str(error), error


def main(program):
    directory = tempfile.mkdtemp(prefix="bellwire-clients-")
    passed = 0
    try:
        daemon = Daemon(program, directory)
        for label, mi in daemon.interfaces():
            use(mi)
            print(f"opensips client over {label}: ok", flush=True)
            passed += 1
        daemon.stop()
    finally:
        shutil.rmtree(directory)
    print(f"{passed} passed, 0 failed")


if __name__ == "__main__":
    main(sys.argv[1])
