"""A RabbitMQ client that is not ours, for the tests: it does what each line of its standard input
asks for, a JSON object with "do", and answers each with a line.

Queues that are consumed from are read until the end; the connection is made again whenever the
broker went away, and what was not acknowledged then comes again.
"""
import json
import sys
import threading
import time

import pika

port, vhost, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]


def connect(heartbeat=0):
    return pika.BlockingConnection(pika.ConnectionParameters(
        "127.0.0.1", port, vhost, pika.PlainCredentials(user, password), heartbeat=heartbeat,
        socket_timeout=5, blocked_connection_timeout=30))


class Taker(threading.Thread):
    """Takes messages of a queue into a list, through broken connections."""

    def __init__(self, queue):
        super().__init__(daemon=True)
        self.queue, self.taken, self.lock, self.stop = queue, [], threading.Lock(), False
        self.start()

    def run(self):
        while not self.stop:
            try:
                channel = connect(heartbeat=5).channel()
                channel.basic_qos(prefetch_count=500)
                for method, _, body in channel.consume(self.queue, inactivity_timeout=0.2):
                    if method is not None:
                        with self.lock:
                            self.taken.append(body.decode())
                        channel.basic_ack(method.delivery_tag)
                    if self.stop:
                        return
            except (pika.exceptions.AMQPError, OSError, AssertionError):
                time.sleep(0.1)


class Peer:
    def __init__(self):
        self.channel, self.takers = None, {}

    def open(self):
        if self.channel is None or not self.channel.is_open:
            self.channel = connect().channel()
            self.channel.confirm_delivery()
        return self.channel

    def queue(self, name, durable=False, arguments=None):
        return self.open().queue_declare(name, durable=durable, arguments=arguments).method.queue

    def exchange(self, name, kind="direct", durable=False):
        self.open().exchange_declare(name, kind, durable=durable)

    def bind(self, queue, exchange, key):
        self.open().queue_bind(queue, exchange, key)

    def unbind(self, queue, exchange, key):
        self.open().queue_unbind(queue, exchange, key)

    def delete_exchange(self, name):
        self.open().exchange_delete(name)

    def delete_queue(self, name):
        self.open().queue_delete(name)

    def get(self, queue):
        method, properties, body = self.open().basic_get(queue, auto_ack=True)
        if method is None:
            return None
        return {"body": list(body), "exchange": method.exchange, "key": method.routing_key,
                "content_type": properties.content_type, "id": properties.message_id,
                "mode": properties.delivery_mode, "headers": properties.headers,
                "redelivered": method.redelivered}

    def count(self, queue):
        return self.open().queue_declare(queue, passive=True).method.message_count

    def publish(self, exchange, key, body, headers=None):
        properties = pika.BasicProperties(headers=headers)
        self.open().basic_publish(exchange, key, bytes(body), properties, mandatory=True)

    def take(self, queue):
        self.takers[queue] = Taker(queue)

    def taken(self, queue):
        taker = self.takers[queue]
        with taker.lock:
            return taker.taken

    def taken_distinct(self, queue):
        return len(set(self.taken(queue)))


peer = Peer()
for line in sys.stdin:
    asked = json.loads(line)
    try:
        answer = {"ok": getattr(peer, asked.pop("do"))(**asked)}
    except Exception as error:  # Whatever it is, the test decides.
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)
