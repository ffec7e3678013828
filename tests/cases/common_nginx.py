"""nginx in front of the evidence endpoint: TLS with a certificate of one's own, for the case files beside it."""

import datetime
import signal
import socket
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

import common

CONFIG = """daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f;
    uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s; client_max_body_size 10m;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {cert}; ssl_certificate_key {key};
        location / {{ proxy_pass http://unix:{upstream}; }}
    }}
}}
"""


def certificate(lab, name, host="attested.example", kind="ec", key_of=None):
    """(certificate, key): PEM files. Self-signed, for whatever host; key_of: renewed with the same key."""
    if key_of:
        with open(key_of, "rb") as source:
            key = serialization.load_pem_private_key(source.read(), None)
    else:
        key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else \
            ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.timezone.utc)
    cert = x509.CertificateBuilder().subject_name(subject).issuer_name(subject) \
        .public_key(key.public_key()).serial_number(x509.random_serial_number()) \
        .not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(9)) \
        .sign(key, hashes.SHA256())
    paths = lab.path(name + ".cert"), lab.path(name + ".key")
    with open(paths[0], "wb") as out:
        out.write(cert.public_bytes(serialization.Encoding.PEM))
    with open(paths[1], "wb") as out:
        out.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                    serialization.NoEncryption()))
    return paths


def key_hash(cert):
    """SHA-256 of the SubjectPublicKeyInfo, in hex."""
    with open(cert, "rb") as source:
        key = x509.load_pem_x509_certificate(source.read()).public_key()
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key.public_bytes(serialization.Encoding.DER,
                                   serialization.PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex()


class Nginx:
    """Terminates TLS and passes requests on to a unix socket. url: as verify --from takes it."""

    def __init__(self, lab, cert, key, upstream):
        for attempt in range(5):
            try:
                self.start(lab, cert, key, upstream)
                break
            except AssertionError:  # somebody else has taken the port meanwhile
                if attempt == 4:
                    raise

    def start(self, lab, cert, key, upstream):
        folder = lab.path("nginx." + str(len(lab.stack._exit_callbacks)), make=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        config = folder + "/conf"
        with open(config, "w", encoding="ascii") as out:
            out.write(CONFIG.format(dir=folder, port=port, cert=cert, key=key, upstream=upstream))
        with open(folder + "/log", "wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", "nginx", "-c", config, "-p", folder, "-e",
                 folder + "/error.log"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        lab.stack.callback(common.end, self.process, signal.SIGKILL)
        self.url = f"https://127.0.0.1:{port}"

        def listens():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0
        common.wait_for("nginx", listens, self.process)

    def stop(self):
        common.end(self.process, signal.SIGKILL)
