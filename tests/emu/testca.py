#!/usr/bin/python3
"""A certificate authority shaped like the one behind AWS attestation documents.

Makes root -> regional -> zonal -> instance (all P-384, ecdsa-with-SHA384, path lengths none/2/1/0)
and short-lived leaves that carry neither subject nor authority key identifier. Keys and
certificates are kept in one directory, so that an emulated TPM and an emulated KMS that are given
the same directory agree on the root. Everything here is test material: keys are unencrypted, and
nothing that this authority signs must ever be trusted outside a test.
"""
import argparse
import contextlib
import datetime
import fcntl
import os
import pathlib
import secrets
import sys
import uuid

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

UTC = datetime.timezone.utc
ROOT_FROM = datetime.datetime(2019, 10, 28, 13, 28, 5)
ROOT_UNTIL = datetime.datetime(2049, 10, 28, 14, 28, 5)
LEAF_BACKDATE_S = 3
LEAF_LIFETIME_S = 3 * 3600
RENEW_MARGIN = datetime.timedelta(hours=4)
DEFAULT_REGION = "us-east-1"
DEFAULT_INSTANCE_ID = "i-0123456789abcdef0"

_SHORT = {
    "C": NameOID.COUNTRY_NAME, "ST": NameOID.STATE_OR_PROVINCE_NAME, "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME, "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
}


def utcnow():
    """Now as the naive UTC value that X.509 builders take."""
    return datetime.datetime.now(UTC).replace(tzinfo=None)


def make_name(*pairs):
    """make_name(("C", "US"), ("CN", "x")): the attributes in the order given."""
    return x509.Name([x509.NameAttribute(_SHORT[key], value) for key, value in pairs])


def instance_style_name(common_name):
    """The attribute order of instance and leaf certificates."""
    return make_name(("C", "US"), ("ST", "Washington"), ("L", "Seattle"), ("O", "Amazon"),
                     ("OU", "AWS"), ("CN", common_name))


def key_usage(**wanted):
    """A KeyUsage extension with only the named bits set."""
    bits = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
         "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False)
    bits.update(wanted)
    return x509.KeyUsage(**bits)


def to_der(certificate):
    return certificate.public_bytes(serialization.Encoding.DER)


def to_pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


class Authority:
    """One certificate of the chain with its private key."""

    def __init__(self, key, certificate):
        self.key = key
        self.certificate = certificate

    def fresh(self, now):
        return (self.certificate.not_valid_before <= now
                and now + RENEW_MARGIN < self.certificate.not_valid_after)

    def write(self, directory, name):
        key_pem = self.key.private_bytes(serialization.Encoding.PEM,
                                         serialization.PrivateFormat.PKCS8,
                                         serialization.NoEncryption())
        _replace(directory / f"{name}.key", key_pem, 0o600)
        _replace(directory / f"{name}.pem", to_pem(self.certificate), 0o644)

    @classmethod
    def read(cls, directory, name):
        key = serialization.load_pem_private_key((directory / f"{name}.key").read_bytes(), None)
        return cls(key, x509.load_pem_x509_certificate((directory / f"{name}.pem").read_bytes()))


def _replace(path, data, mode):
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as out:
        out.write(data)
    os.replace(temporary, path)


def _issue(issuer, subject, not_before, not_after, path_length, usage, crl_url=None):
    """Make a CA certificate. issuer None means self-signed; extensions are in AWS's order."""
    key = ec.generate_private_key(ec.SECP384R1())
    issuer_key = issuer.key if issuer else key
    issuer_name = issuer.certificate.subject if issuer else subject
    builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer_name)
               .public_key(key.public_key())
               .serial_number(int.from_bytes(b"\x00" + secrets.token_bytes(15), "big") | 1 << 112)
               .not_valid_before(not_before).not_valid_after(not_after)
               .add_extension(x509.BasicConstraints(True, path_length), critical=True))
    own_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    extensions = [(own_id, False), (usage, True)]
    if issuer:
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        extensions.insert(0, (issuer_id, False))
    if path_length == 0:
        extensions.reverse()
    if crl_url:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(crl_url)], None, None, None)
        extensions.append((x509.CRLDistributionPoints([point]), False))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return Authority(key, builder.sign(issuer_key, hashes.SHA384()))


class TestCa:
    """The authority in a directory: loads what is there, makes what is missing or runs out."""

    __test__ = False

    def __init__(self, directory, region=DEFAULT_REGION, instance_id=DEFAULT_INSTANCE_ID):
        self.directory = pathlib.Path(directory).resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.region = region
        self.instance_id = instance_id
        self.levels = {}
        self.refresh()

    @property
    def root_path(self):
        return self.directory / "root.pem"

    @property
    def root(self):
        return self.levels["root"].certificate

    def refresh(self, now=None):
        """Load or renew the four authorities. Safe against other processes doing the same."""
        now = now or utcnow()
        with self._locked():
            issuer = None
            renewed = False
            for name in ("root", "regional", "zonal", "instance"):
                level = None if renewed else self._load(name, now)
                if level is None:
                    level = getattr(self, f"_make_{name}")(issuer, now)
                    level.write(self.directory, name)
                    renewed = True
                self.levels[name] = level
                issuer = level

    @contextlib.contextmanager
    def _locked(self):
        with open(self.directory / "lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _load(self, name, now):
        try:
            level = Authority.read(self.directory, name)
        except FileNotFoundError:
            return None
        if not level.fresh(now):
            return None
        if name == "instance" and level.certificate.subject != self._instance_name():
            return None
        subject = level.certificate.subject.rfc4514_string()
        if name == "regional" and f".{self.region}." not in subject:
            return None
        return level

    def _instance_name(self):
        return instance_style_name(f"{self.instance_id}.{self.region}.aws.nitro-enclaves")

    def _make_root(self, _issuer, _now):
        name = make_name(("C", "US"), ("O", "Amazon"), ("OU", "AWS"), ("CN", "aws.nitro-enclaves"))
        usage = key_usage(digital_signature=True, key_cert_sign=True, crl_sign=True)
        return _issue(None, name, ROOT_FROM, ROOT_UNTIL, None, usage)

    def _make_regional(self, issuer, now):
        common_name = f"{secrets.token_hex(8)}.{self.region}.aws.nitro-enclaves"
        name = make_name(("C", "US"), ("O", "Amazon"), ("OU", "AWS"), ("CN", common_name))
        usage = key_usage(digital_signature=True, key_cert_sign=True, crl_sign=True)
        start = now - datetime.timedelta(days=4)
        return _issue(issuer, name, start, start + datetime.timedelta(days=20, hours=1), 2, usage,
                      f"http://aws-nitro-enclaves-crl.s3.amazonaws.com/crl/{uuid.uuid4()}.crl")

    def _make_zonal(self, issuer, now):
        common_name = f"{secrets.token_hex(8)}.zonal.{self.region}.aws.nitro-enclaves"
        name = make_name(("CN", common_name), ("OU", "AWS"), ("O", "Amazon"), ("C", "US"),
                         ("ST", "WA"), ("L", "Seattle"))
        usage = key_usage(digital_signature=True, key_cert_sign=True, crl_sign=True)
        start = now - datetime.timedelta(hours=6)
        return _issue(issuer, name, start, start + datetime.timedelta(days=5, hours=19), 1, usage,
                      f"http://crl-{self.region}-aws-nitro-enclaves.s3.{self.region}.amazonaws.com"
                      f"/crl/{uuid.uuid4()}.crl")

    def _make_instance(self, issuer, now):
        start = now - datetime.timedelta(hours=1)
        return _issue(issuer, self._instance_name(), start, start + datetime.timedelta(days=1), 0,
                      key_usage(key_cert_sign=True))

    def issue_leaf(self, module_id, now=None, lifetime_s=LEAF_LIFETIME_S, ca_flag=False,
                   issuer="instance"):
        """A signing key and its leaf certificate, valid from 3 s before now.

        ca_flag and issuer exist to make certificates that a verifier must refuse.
        """
        now = now or utcnow()
        level = self.levels[issuer]
        key = ec.generate_private_key(ec.SECP384R1())
        moment = now.replace(microsecond=0)
        usage = key_usage(digital_signature=True, content_commitment=True)
        builder = (x509.CertificateBuilder()
                   .subject_name(instance_style_name(f"{module_id}.{self.region}.aws"))
                   .issuer_name(level.certificate.subject)
                   .public_key(key.public_key())
                   .serial_number(int(moment.replace(tzinfo=UTC).timestamp()))
                   .not_valid_before(moment - datetime.timedelta(seconds=LEAF_BACKDATE_S))
                   .not_valid_after(moment + datetime.timedelta(seconds=lifetime_s))
                   .add_extension(x509.BasicConstraints(ca_flag, None), critical=True)
                   .add_extension(usage, critical=False))
        return key, builder.sign(level.key, hashes.SHA384())

    def cabundle(self):
        """DER certificates in the order of a document: root, regional, zonal, instance."""
        return [to_der(self.levels[name].certificate)
                for name in ("root", "regional", "zonal", "instance")]


def root_of(directory):
    """The root certificate of an authority, which is made when it does not exist yet."""
    path = pathlib.Path(directory) / "root.pem"
    if not path.exists():
        return TestCa(directory).root
    return x509.load_pem_x509_certificate(path.read_bytes())


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--dir", required=True, help="directory of the authority")
    parser.add_argument("--region", default=DEFAULT_REGION)
    parser.add_argument("--instance-id", default=DEFAULT_INSTANCE_ID)
    parser.add_argument("--chain", action="store_true",
                        help="also write leaf.pem and chain.pem (instance, zonal, regional)")
    options = parser.parse_args(argv)
    authority = TestCa(options.dir, options.region, options.instance_id)
    if options.chain:
        _, leaf = authority.issue_leaf(options.instance_id + "-tpm0000000000000000")
        (authority.directory / "leaf.pem").write_bytes(to_pem(leaf))
        chain = [to_pem(authority.levels[name].certificate)
                 for name in ("instance", "zonal", "regional")]
        (authority.directory / "chain.pem").write_bytes(b"".join(chain))
    print(authority.root_path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
