"""An S3 stand-in for throughput: nginx over a folder, once as it is and once with time added.

Signatures are ignored; Range, If-Match and ETag are nginx's own. One folder is the bucket `bench`; its
listing is a static file written here, always that of the prefix `models/`. The slow port asks ./delay before each request
(auth_request): time to the first byte grows, the rate does not fall.
"""

import contextlib
import os
import signal
import socket
import urllib.request
from xml.sax.saxutils import escape

import machine

BUCKET, PREFIX = "bench", "models/"

CONFIG = """
daemon off; user root; worker_processes %(workers)d; pid %(dir)s/pid; error_log %(dir)s/error.log warn;
events { worker_connections 1024; }
http {
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; sendfile_max_chunk 2m;
  keepalive_requests 1000000; keepalive_timeout 300; default_type binary/octet-stream;
  client_body_temp_path %(dir)s/tmp; proxy_temp_path %(dir)s/tmp; fastcgi_temp_path %(dir)s/tmp;
  uwsgi_temp_path %(dir)s/tmp; scgi_temp_path %(dir)s/tmp;
  upstream delay { server 127.0.0.1:%(delay)d; keepalive 256; }
  server {
    listen 127.0.0.1:%(fast)d; root %(root)s;
    location ~ ^/bench/?$ { default_type application/xml; rewrite ^ /list.xml break; }
  }
  server {
    listen 127.0.0.1:%(slow)d; root %(root)s; auth_request /_delay;
    location ~ ^/bench/?$ { default_type application/xml; rewrite ^ /list.xml break; }
    location = /_delay {
      internal; auth_request off; proxy_pass http://delay; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_pass_request_body off; proxy_pass_request_headers off;
      proxy_set_header Content-Length "";
    }
  }
}
"""


def free_ports(count):
    with contextlib.ExitStack() as held:
        ports = []
        for _ in range(count):
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
        return ports


def etag(path):
    """As nginx makes it, so that the listing and the objects agree."""
    stat = os.stat(path)
    return '"%x-%x"' % (int(stat.st_mtime), stat.st_size)


class Web:
    """Serves root/bench/... while the block lasts."""

    def __init__(self, work, tools, delay_ms):
        self.dir = os.path.join(work, "web")
        self.root = os.path.join(self.dir, "root")
        self.bucket = os.path.join(self.root, BUCKET)
        self.tools = tools
        self.delay_ms = delay_ms
        self.pids = []
        self.ports = {}
        self._running = contextlib.ExitStack()
        os.makedirs(self.bucket)
        os.makedirs(os.path.join(self.dir, "tmp"))

    def url(self, slow=False):
        return "http://127.0.0.1:%d" % self.ports[slow]

    def publish(self, path, key):
        """Makes a file an object, without copying it."""
        where = os.path.join(self.bucket, key)
        os.makedirs(os.path.dirname(where), exist_ok=True)
        if not os.path.exists(where):
            os.link(path, where)
        self._list()

    def _list(self):
        rows = []
        for folder, _, names in os.walk(os.path.join(self.bucket, PREFIX)):
            for name in names:
                path = os.path.join(folder, name)
                rows.append((os.path.relpath(path, self.bucket), os.stat(path).st_size, etag(path)))
        with open(os.path.join(self.root, "list.xml"), "w", encoding="utf-8") as out:
            out.write('<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult '
                      'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>%s</Name><Prefix>%s</Prefix>'
                      "<KeyCount>%d</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>"
                      % (BUCKET, PREFIX, len(rows)))
            for key, size, tag in sorted(rows):
                out.write("<Contents><Key>%s</Key><LastModified>2026-01-01T00:00:00.000Z"
                          "</LastModified><ETag>%s</ETag><Size>%d</Size>"
                          "<StorageClass>STANDARD</StorageClass></Contents>"
                          % (escape(key), escape(tag, {'"': "&quot;"}), size))
            out.write("</ListBucketResult>\n")

    def start(self):
        if self.pids:
            return
        port_file = os.path.join(self.dir, "delay.port")
        delay = self._running.enter_context(machine.service(
            [os.path.join(self.tools, "delay"), str(self.delay_ms), port_file],
            lambda: os.path.exists(port_file) and os.path.getsize(port_file) > 0,
            os.path.join(self.dir, "delay.log")))
        with open(port_file, encoding="ascii") as port:
            delay_port = int(port.read())
        fast, slow = free_ports(2)
        self.ports = {False: fast, True: slow}
        config = os.path.join(self.dir, "nginx.conf")
        with open(config, "w", encoding="ascii") as out:
            out.write(CONFIG % {"dir": self.dir, "root": self.root, "delay": delay_port,
                                "workers": machine.CPUS, "fast": fast, "slow": slow})
        self._list()
        nginx = self._running.enter_context(machine.service(
            ["/usr/sbin/nginx", "-e", os.path.join(self.dir, "error.log"), "-c", config], self._answers,
            os.path.join(self.dir, "nginx.log"), stop=signal.SIGQUIT))
        self.pids = [delay.pid, nginx.pid, *machine.children(nginx.pid)]

    def _answers(self):
        try:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(self.url() + "/list.xml", timeout=5):
                return True
        except OSError:
            return False

    def stop(self):
        self._running.close()
        self.pids = []
