#!/usr/bin/python3
"""A small S3 client for tests: raw signed requests, nothing hidden, nothing retried.

Tests import Client and Emulator. As a program it does what a test script needs of a server
that may be s3.py or RGW:

    s3_client.py ENDPOINT CREDENTIALS mb BUCKET | rb BUCKET | ls BUCKET [PREFIX]
                                      | put BUCKET KEY FILE | get BUCKET KEY FILE
                                      | head BUCKET KEY | rm BUCKET KEY | uploads BUCKET

CREDENTIALS is the file that s3.py reads; its first key signs.
"""

import collections
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import urllib.parse
import xml.etree.ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sigv4  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
Answer = collections.namedtuple("Answer", "status headers body")


def quote(key):
    """A key as a path."""
    return urllib.parse.quote(key, safe="/-_.~")


def fields(body, name):
    """The texts of every element called name, in order."""
    root = xml.etree.ElementTree.fromstring(body)
    return [node.text or "" for node in root.iter() if node.tag.rpartition("}")[2] == name]


class Client:
    def __init__(self, endpoint, credentials, region="us-east-1", tls=None, host=None):
        """credentials: {key id: (secret, token, ...)}, of which the first signs."""
        self.endpoint = urllib.parse.urlsplit(endpoint)
        self.key_id, key = next(iter(credentials.items()))
        self.key = (key[0], key[1])
        self.region = region
        self.host = host or self.endpoint.netloc
        if self.endpoint.scheme == "https":
            self.connection = http.client.HTTPSConnection(self.endpoint.netloc, timeout=60,
                                                          context=tls, blocksize=1 << 20)
        else:
            self.connection = http.client.HTTPConnection(self.endpoint.netloc, timeout=60,
                                                         blocksize=1 << 20)

    def close(self):
        self.connection.close()

    def sign(self, method, path, query="", headers=(), payload=b"", now=None):
        return sigv4.sign(method, path, query, [("Host", self.host), *headers], payload,
                          self.key_id, self.key, self.region, "s3", now)

    def raw(self, method, target, headers, body=b""):
        """Send exactly this."""
        self.connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            self.connection.putheader(name, value)
        if "content-length" not in [name.lower() for name, _ in headers]:
            if method in ("PUT", "POST") or body:
                self.connection.putheader("Content-Length", str(
                    os.fstat(body.fileno()).st_size if hasattr(body, "fileno") else len(body)))
        self.connection.endheaders(body or None)
        response = self.connection.getresponse()
        answer_headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, answer_headers, response.read())

    def request(self, method, path, query="", headers=(), body=b"", payload=None, now=None,
                edit=None):
        """Sign and send. payload: what the signature covers if not the body. edit: a function
        that changes the signed headers."""
        signed = self.sign(method, path, query, headers, body if payload is None else payload, now)
        return self.raw(method, path + ("?" + query if query else ""),
                        edit(signed) if edit else signed, body)

    def list(self, bucket, **query):
        """(keys, prefixes, pages) of a whole listing. _ in a name stands for -."""
        keys, prefixes, pages, token = [], [], 0, None
        while True:
            names = {"list-type": "2", **{name.replace("_", "-"): value
                                          for name, value in query.items()}}
            if token is not None:
                names["continuation-token"] = token
            text = "&".join(f"{quote(name)}={urllib.parse.quote(str(value), safe='-_.~')}"
                            for name, value in sorted(names.items()))
            answer = self.request("GET", "/" + bucket, text)
            if answer.status != 200:
                raise RuntimeError(f"listing {bucket}: {answer}")
            pages += 1
            keys += fields(answer.body, "Key")
            root = xml.etree.ElementTree.fromstring(answer.body)
            space = root.tag.rpartition("}")[0] + "}"
            prefixes += [node.findtext(space + "Prefix")
                         for node in root.findall(space + "CommonPrefixes")]
            if root.findtext(space + "IsTruncated") != "true":
                return keys, prefixes, pages
            token = root.findtext(space + "NextContinuationToken")


class Emulator:
    """s3.py as a child process, with its control interface."""

    def __init__(self, folder, *options, keys=None):
        """folder: private to this run; the objects are in folder/root."""
        self.folder, self.root = folder, os.path.join(folder, "root")
        self.credentials = os.path.join(folder, "credentials.json")
        self.set_keys(keys or {"AKIAIOSFODNN7EXAMPLE":
                               {"secret": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}})
        self.process = subprocess.Popen(
            ["/usr/bin/python3", os.path.join(HERE, "s3.py"), "--root", self.root,
             "--credentials", self.credentials, *options], stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline()
        if not ready.startswith("ready "):
            self.process.wait()
            raise RuntimeError("s3.py did not start")
        self.endpoint = dict(word.split("=", 1) for word in ready.split()[1:])["endpoint"]

    def set_keys(self, keys):
        self.keys = {key_id: (entry["secret"], entry.get("token")) for key_id, entry in
                     keys.items()}
        with open(self.credentials + ".new", "w", encoding="utf-8") as file:
            json.dump(keys, file)
        os.rename(self.credentials + ".new", self.credentials)

    def client(self, **options):
        return Client(self.endpoint, self.keys, **options)

    def control(self, verb, name, value=None):
        address = urllib.parse.urlsplit(self.endpoint)
        connection = http.client.HTTPConnection(address.netloc, timeout=60)
        body = None if value is None else json.dumps(value)
        connection.request(verb, "/_emu/" + name, body)
        response = connection.getresponse()
        result = json.loads(response.read())
        connection.close()
        if response.status != 200:
            raise ValueError(result["error"])
        return result

    def stop(self):
        """End it by SIGTERM; return its exit code."""
        self.process.terminate()
        self.process.stdout.close()
        return self.process.wait(timeout=30)


def file_sha256(file):
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    file.seek(0)
    return digest.hexdigest()


def get_file(client, bucket, key, name):
    """Stream an object to a file."""
    path = f"/{bucket}/{quote(key)}"
    client.connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
    for header, value in client.sign("GET", path):
        client.connection.putheader(header, value)
    client.connection.endheaders()
    response = client.connection.getresponse()
    if response.status == 200:
        with open(name, "wb") as file:
            shutil.copyfileobj(response, file, 1 << 20)
        return Answer(200, {}, b"")
    return Answer(response.status, {}, response.read())


def main(arguments):
    if len(arguments) < 4:
        print(__doc__, file=sys.stderr)
        return 2
    keys = {key_id: (entry["secret"], entry.get("token"))
            for key_id, entry in json.load(open(arguments[1], encoding="utf-8")).items()}
    client = Client(arguments[0], keys)
    verb, bucket, rest = arguments[2], arguments[3], arguments[4:]
    path = f"/{bucket}" + (f"/{quote(rest[0])}" if rest else "")
    if verb == "ls":
        keys, _, _ = client.list(bucket, prefix=rest[0] if rest else "")
        print("\n".join(keys))
        return 0
    if verb == "put":
        with open(rest[1], "rb") as file:
            answer = client.request("PUT", path, body=file, payload=file_sha256(file))
    elif verb == "get":
        answer = get_file(client, bucket, rest[0], rest[1])
    else:
        method, query = {"mb": ("PUT", ""), "rb": ("DELETE", ""), "rm": ("DELETE", ""),
                         "head": ("HEAD", ""), "uploads": ("GET", "uploads=")}[verb]
        answer = client.request(method, path, query)
    if answer.status >= 300:
        print(f"{verb} {path}: {answer.status} {answer.body.decode(errors='replace')}",
              file=sys.stderr)
        return 1
    if verb == "head":
        print("\n".join(f"{name}: {value}" for name, value in sorted(answer.headers.items())))
    if verb == "uploads":
        print("\n".join(map(" ".join, zip(fields(answer.body, "Key"),
                                          fields(answer.body, "UploadId")))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
