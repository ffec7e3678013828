#!/usr/bin/python3
"""AWS Signature Version 4, judged and made, for the emulators and their tests.

verify() is the emulators' gate: it is a second implementation, written from AWS's
description and checked against AWS's vectors (tests/vectors/sigv4), so a mistake
in fs/aws/sigv4.c does not pass here by being made twice. It answers as AWS does,
down to the error code, and trusts nothing in a request but the secret it knows.
sign() and presign() make requests for tests that have no AWS client at hand.
It must never accept a request without a signature, and has no switch to do so.

tests/emu/test_sigv4.py checks it against the vectors.
"""

import calendar
import collections
import email.utils
import hashlib
import hmac
import json
import os
import re
import threading
import time

ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"
UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")
MAX_PRESIGN_S = 7 * 24 * 3600
# S3 allows 15 minutes either way, the other services 5.
SKEW_S3_S = 900
SKEW_S = 300

# kind of failure: (S3 code, S3 status, code of the JSON services; their status is 400)
_CODES = {
    "missing": ("AccessDenied", 403, "MissingAuthenticationTokenException"),
    "malformed": ("AuthorizationHeaderMalformed", 400, "IncompleteSignatureException"),
    "query": ("AuthorizationQueryParametersError", 400, "IncompleteSignatureException"),
    "scope": ("AuthorizationHeaderMalformed", 400, "InvalidSignatureException"),
    "two": ("InvalidArgument", 400, "InvalidSignatureException"),
    "date": ("AccessDenied", 403, "IncompleteSignatureException"),
    "unknown-key": ("InvalidAccessKeyId", 403, "UnrecognizedClientException"),
    "bad-token": ("InvalidToken", 400, "UnrecognizedClientException"),
    "expired-token": ("ExpiredToken", 400, "ExpiredTokenException"),
    "skew": ("RequestTimeTooSkewed", 403, "InvalidSignatureException"),
    "expired-url": ("AccessDenied", 403, "InvalidSignatureException"),
    "unsigned-header": ("AccessDenied", 403, "InvalidSignatureException"),
    "signature": ("SignatureDoesNotMatch", 403, "InvalidSignatureException"),
    "no-hash": ("InvalidRequest", 400, "InvalidSignatureException"),
    "bad-hash": ("InvalidArgument", 400, "InvalidSignatureException"),
    "hash": ("XAmzContentSHA256Mismatch", 400, "InvalidSignatureException"),
    "streaming": ("NotImplemented", 501, "InvalidSignatureException"),
}

Key = collections.namedtuple("Key", "secret token expires")
_Auth = collections.namedtuple("_Auth", "key_id scope signed signature stamp token expires_s")


class SigV4Error(Exception):
    """A refusal: AWS's code and message, the HTTP status, and extra fields of the body."""

    def __init__(self, code, message, status=403, **detail):
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status, self.detail = code, message, status, detail


def _fail(service, kind, message, **detail):
    s3_code, s3_status, json_code = _CODES[kind]
    if service == "s3":
        return SigV4Error(s3_code, message, s3_status, **detail)
    return SigV4Error(json_code, message, 400, **detail)


# Credentials ------------------------------------------------------------------------------

def parse_iso_time(text):
    """Seconds since 1970 of 2026-01-02T03:04:05Z (a fraction of a second is dropped)."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|\+00:00)", text)
    if not match:
        raise ValueError(f"not a UTC time: {text!r}")
    return calendar.timegm(time.strptime(match.group(1), "%Y-%m-%dT%H:%M:%S"))


class CredentialsFile:
    """Keys of a JSON file {"AKID": {"secret": ..., "token": ..., "expires": ...}}.

    Read again when the file changes, so that a test can rotate keys under a running
    server. Replace the file by rename(); a file caught half-written leaves the old keys.
    """

    def __init__(self, path):
        self.path = path
        self._lock = threading.Lock()
        self._stamp = None
        self._keys = None
        self.get("")

    @staticmethod
    def _parse(text):
        keys = {}
        for key_id, entry in json.loads(text).items():
            expires = entry.get("expires")
            keys[key_id] = Key(entry["secret"], entry.get("token"),
                               None if expires is None else parse_iso_time(expires))
        return keys

    def get(self, key_id, default=None):
        info = os.stat(self.path)
        stamp = (info.st_mtime_ns, info.st_ino, info.st_size)
        with self._lock:
            if stamp != self._stamp:
                try:
                    with open(self.path, encoding="utf-8") as file:
                        self._keys = self._parse(file.read())
                    self._stamp = stamp
                except ValueError:
                    if self._keys is None:
                        raise
            return self._keys.get(key_id, default)


def load_credentials(path):
    """The keys in path, as verify() takes them."""
    return CredentialsFile(path)


def _lookup(credentials, key_id):
    entry = credentials.get(key_id)
    if entry is None:
        return None
    return Key(*(tuple(entry) + (None, None))[:3])


# Canonical form ---------------------------------------------------------------------------

def _octets(text):
    """Bytes as received. A str is one byte a character, as http.server hands it over."""
    return text if isinstance(text, bytes) else text.encode("iso-8859-1")


def uri_encode(data, keep=b""):
    return "".join(chr(byte) if byte in UNRESERVED or byte in keep else f"%{byte:02X}"
                   for byte in data)


def uri_decode(data):
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes([int(match.group(1), 16)]), data)


def canonical_path(raw_path, normalize):
    """S3 (normalize false): every byte encoded once. Others: dots and repeated slashes
    are resolved, and the path is encoded again as it was received."""
    path = _octets(raw_path) or b"/"
    if not normalize:
        return uri_encode(uri_decode(path), b"/")
    parts = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    tail = b"/" if parts and path.endswith(b"/") else b""
    return uri_encode(b"/" + b"/".join(parts) + tail, b"/")


def parse_query(raw_query):
    """[(key, value)] in bytes, in the order received."""
    pairs = []
    for piece in _octets(raw_query or b"").split(b"&"):
        if piece:
            key, _, value = piece.replace(b"+", b" ").partition(b"=")
            pairs.append((uri_decode(key), uri_decode(value)))
    return pairs


def canonical_query(pairs):
    return "&".join(f"{key}={value}" for key, value in
                    sorted((uri_encode(key), uri_encode(value)) for key, value in pairs))


def _merge(headers):
    """{lower-case name: value} with white space squeezed and repeated names joined."""
    merged = {}
    for name, value in headers:
        name = (name.decode("ascii") if isinstance(name, bytes) else name).strip().lower()
        value = b" ".join(_octets(value).split()).decode("iso-8859-1")
        merged[name] = f"{merged[name]},{value}" if name in merged else value
    return merged


def canonical_request(method, path, query, merged, signed, payload_hash):
    """path and query canonical, merged as _merge() gives it, signed a list of names."""
    lines = "".join(f"{name}:{merged.get(name, '')}\n" for name in signed)
    return "\n".join([method, path, query, lines, ";".join(signed), payload_hash])


def _hmac(key, text):
    return hmac.new(key, _octets(text), hashlib.sha256).digest()


def string_to_sign(stamp, scope, request):
    digest = hashlib.sha256(_octets(request)).hexdigest()
    return "\n".join([ALGORITHM, stamp, "/".join(scope), digest])


def signature(secret, scope, text):
    key = ("AWS4" + secret).encode()
    for part in scope:
        key = _hmac(key, part)
    return _hmac(key, text).hex()


# Verifying --------------------------------------------------------------------------------

def _split_credential(service, kind, text):
    parts = text.split("/")
    # An access key id may hold no slash, so there are exactly five parts.
    if len(parts) != 5 or not all(parts):
        raise _fail(service, kind, f"the Credential is malformed: {text!r}; expecting "
                    "<access key id>/<YYYYMMDD>/<region>/<service>/aws4_request")
    return parts[0], tuple(parts[1:])


def _from_header(service, merged):
    algorithm, _, rest = merged["authorization"].partition(" ")
    if algorithm != ALGORITHM:
        raise _fail(service, "malformed", f"unsupported Authorization type: {algorithm!r}")
    fields = {}
    for piece in rest.split(","):
        name, equals, value = piece.strip().partition("=")
        if not equals or name in fields:
            raise _fail(service, "malformed", f"the Authorization header is malformed at {piece!r}")
        fields[name] = value
    if set(fields) != {"Credential", "SignedHeaders", "Signature"}:
        raise _fail(service, "malformed", "the Authorization header needs exactly Credential, "
                    "SignedHeaders and Signature")
    key_id, scope = _split_credential(service, "malformed", fields["Credential"])
    stamp = merged.get("x-amz-date")
    if stamp is None:
        parsed = email.utils.parsedate_tz(merged.get("date", ""))
        if parsed is None:
            raise _fail(service, "date", "AWS authentication requires a valid Date or "
                        "x-amz-date header")
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(email.utils.mktime_tz(parsed)))
    return _Auth(key_id, scope, fields["SignedHeaders"].split(";"), fields["Signature"], stamp,
                 merged.get("x-amz-security-token"), None)


def _from_query(service, pairs):
    fields = {}
    for key, value in pairs:
        key = key.decode("iso-8859-1")
        if key.startswith("X-Amz-"):
            if key in fields:
                raise _fail(service, "query", f"{key} is given twice")
            fields[key] = value.decode("iso-8859-1")
    for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"):
        if "X-Amz-" + name not in fields:
            raise _fail(service, "query", f"query-string authentication lacks X-Amz-{name}")
    if fields["X-Amz-Algorithm"] != ALGORITHM:
        raise _fail(service, "query", f"X-Amz-Algorithm only supports {ALGORITHM}")
    if not re.fullmatch(r"\d{1,7}", fields["X-Amz-Expires"]):
        raise _fail(service, "query", "X-Amz-Expires must be a number of seconds")
    expires_s = int(fields["X-Amz-Expires"])
    if not 1 <= expires_s <= MAX_PRESIGN_S:
        raise _fail(service, "query", f"X-Amz-Expires must be 1 to {MAX_PRESIGN_S}")
    key_id, scope = _split_credential(service, "query", fields["X-Amz-Credential"])
    return _Auth(key_id, scope, fields["X-Amz-SignedHeaders"].split(";"),
                 fields["X-Amz-Signature"], fields["X-Amz-Date"],
                 fields.get("X-Amz-Security-Token"), expires_s)


def _check_scope(service, region, auth):
    day, scope_region, scope_service, end = auth.scope
    if end != "aws4_request":
        raise _fail(service, "scope", f"the credential scope ends with {end!r}, "
                    "expecting 'aws4_request'")
    if day != auth.stamp[:8]:
        raise _fail(service, "scope", f"the credential date {day!r} is not the date of the "
                    f"request, {auth.stamp[:8]!r}")
    if scope_service != service:
        raise _fail(service, "scope", f"the service {scope_service!r} is wrong; "
                    f"expecting {service!r}")
    if region is not None and scope_region != region:
        raise _fail(service, "scope", f"the region {scope_region!r} is wrong; "
                    f"expecting {region!r}", Region=region)


def _check_time(service, auth, now):
    try:
        made = calendar.timegm(time.strptime(auth.stamp, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise _fail(service, "date", f"not a valid request date: {auth.stamp!r}") from None
    if auth.expires_s is not None:
        if now > made + auth.expires_s:
            raise _fail(service, "expired-url", "Request has expired",
                        Expires=_iso(made + auth.expires_s), ServerTime=_iso(now))
        if made > now + SKEW_S3_S:
            raise _fail(service, "expired-url", "Request is not yet valid", ServerTime=_iso(now))
        return
    limit_s = SKEW_S3_S if service == "s3" else SKEW_S
    if abs(now - made) > limit_s:
        if service == "s3":
            raise _fail(service, "skew", "The difference between the request time and the "
                        "current time is too large.", RequestTime=auth.stamp,
                        ServerTime=_iso(now), MaxAllowedSkewMilliseconds=str(limit_s * 1000))
        word, sign_ = ("expired", "-") if made < now else ("not yet current", "+")
        raise _fail(service, "skew", f"Signature {word}: {auth.stamp} against {_basic(now)} "
                    f"({sign_} {limit_s // 60} min.)")


def _iso(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _basic(seconds):
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))


def _check_key(service, credentials, auth, now):
    key = _lookup(credentials, auth.key_id)
    if key is None or (key.token is not None and auth.token is None):
        raise _fail(service, "unknown-key", "The AWS Access Key Id you provided does not exist "
                    "in our records." if service == "s3" else
                    "The security token included in the request is invalid.",
                    AWSAccessKeyId=auth.key_id)
    if auth.token is not None and (key.token is None or not hmac.compare_digest(
            auth.token.encode(), key.token.encode())):
        raise _fail(service, "bad-token", "The provided token is malformed or otherwise invalid."
                    if service == "s3" else
                    "The security token included in the request is invalid.")
    if key.expires is not None and now >= key.expires:
        raise _fail(service, "expired-token", "The provided token has expired." if service == "s3"
                    else "The security token included in the request is expired",
                    **{"Token-0": auth.token or ""})
    return key


def _check_signed_headers(service, merged, auth):
    if auth.signed != sorted(set(name.lower() for name in auth.signed)):
        raise _fail(service, "malformed" if auth.expires_s is None else "query",
                    "SignedHeaders must be lower case, sorted and unique")
    needed = {name for name in merged if name == "host" or name.startswith("x-amz-")}
    unsigned = sorted((needed | {"host"}) - set(auth.signed))
    if unsigned:
        raise _fail(service, "unsigned-header", "There were headers present in the request which "
                    "were not signed", HeadersNotSigned=", ".join(unsigned))
    absent = sorted(set(auth.signed) - set(merged))
    if absent:
        raise _fail(service, "signature", "headers are signed that were not sent: "
                    + ", ".join(absent))


def _payload_hash(service, merged, body, presigned):
    claimed = merged.get("x-amz-content-sha256")
    actual = None if body is None else hashlib.sha256(body).hexdigest()
    if service == "s3":
        if claimed is None:
            if presigned:
                return UNSIGNED
            raise _fail(service, "no-hash", "Missing required header for this request: "
                        "x-amz-content-sha256")
        if claimed == UNSIGNED:
            return UNSIGNED
        if claimed.startswith("STREAMING-"):
            raise _fail(service, "streaming", f"{claimed} is beyond this server")
    if claimed is None:
        return EMPTY_SHA256 if actual is None else actual
    if not re.fullmatch(r"[0-9a-f]{64}", claimed):
        raise _fail(service, "bad-hash", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, or a "
                    "valid sha256 value.")
    if actual is not None and claimed != actual:
        raise payload_mismatch(service, claimed, actual)
    return claimed


def payload_mismatch(service, claimed, actual):
    """The refusal of a body that is not the signed one, for servers that hash as they read."""
    return _fail(service, "hash", "The provided 'x-amz-content-sha256' header does not match "
                 "what was computed.", ClientComputedContentSHA256=claimed,
                 S3ComputedContentSHA256=actual)


def verify(method, raw_path, raw_query, headers, body, credentials, service, now=None, *,
           region=None, normalize=None):
    """Check a request's signature; return the access key id that made it.

    raw_path and raw_query: the target as received, cut at the first '?', bytes or str.
    headers: [(name, value)] as received. body: bytes, or None when the caller hashes it
    itself against x-amz-content-sha256 (see payload_mismatch()).
    credentials: has get(access key id) -> (secret, token or None[, expiry in s or None]).
    now: seconds since 1970. region: refuse any other. normalize: the path rule, by default
    true for every service but s3. Raises SigV4Error.
    """
    now = time.time() if now is None else now
    normalize = service != "s3" if normalize is None else normalize
    merged = _merge(headers)
    pairs = parse_query(raw_query)
    presigned = any(key in (b"X-Amz-Signature", b"X-Amz-Algorithm") for key, _ in pairs)
    if "authorization" in merged and presigned:
        raise _fail(service, "two", "Only one auth mechanism allowed")
    if presigned:
        auth = _from_query(service, pairs)
    elif "authorization" in merged:
        auth = _from_header(service, merged)
    else:
        raise _fail(service, "missing", "Access Denied" if service == "s3" else
                    "Missing Authentication Token")
    _check_scope(service, region, auth)
    _check_time(service, auth, now)
    key = _check_key(service, credentials, auth, now)
    _check_signed_headers(service, merged, auth)
    payload_hash = _payload_hash(service, merged, body, presigned)
    query = canonical_query([pair for pair in pairs if pair[0] != b"X-Amz-Signature"])
    request = canonical_request(method, canonical_path(raw_path, normalize), query, merged,
                                auth.signed, payload_hash)
    text = string_to_sign(auth.stamp, auth.scope, request)
    if not hmac.compare_digest(signature(key.secret, auth.scope, text).encode(),
                               auth.signature.encode()):
        raise _fail(service, "signature", "The request signature we calculated does not match "
                    "the signature you provided. Check your key and signing method.",
                    StringToSign=text, CanonicalRequest=request, SignatureProvided=auth.signature)
    return auth.key_id


# Signing ----------------------------------------------------------------------------------

def sign(method, raw_path, raw_query, headers, payload, key_id, key, region, service, now=None, *,
         normalize=None):
    """Return headers plus x-amz-date, x-amz-content-sha256 (s3), x-amz-security-token and
    Authorization. payload: bytes, UNSIGNED, or a hex SHA-256. key: (secret, token or None).
    headers must hold Host; every header given is signed."""
    stamp = _basic(time.time() if now is None else now)
    scope = (stamp[:8], region, service, "aws4_request")
    digest = payload if isinstance(payload, str) else hashlib.sha256(payload).hexdigest()
    headers = list(headers) + [("x-amz-date", stamp)]
    if service == "s3" and "x-amz-content-sha256" not in _merge(headers):
        headers.append(("x-amz-content-sha256", digest))
    if key[1] is not None:
        headers.append(("x-amz-security-token", key[1]))
    merged = _merge(headers)
    signed = sorted(merged)
    request = canonical_request(
        method, canonical_path(raw_path, service != "s3" if normalize is None else normalize),
        canonical_query(parse_query(raw_query)), merged, signed, digest)
    value = signature(key[0], scope, string_to_sign(stamp, scope, request))
    return headers + [("Authorization", f"{ALGORITHM} Credential={key_id}/{'/'.join(scope)}, "
                       f"SignedHeaders={';'.join(signed)}, Signature={value}")]


def presign(method, raw_path, raw_query, headers, payload, key_id, key, region, service,
            expires_s, now=None, *, normalize=None):
    """The query string that carries the signature. payload as for sign()."""
    stamp = _basic(time.time() if now is None else now)
    scope = (stamp[:8], region, service, "aws4_request")
    digest = payload if isinstance(payload, str) else hashlib.sha256(payload).hexdigest()
    merged = _merge(headers)
    signed = sorted(merged)
    extra = {"Algorithm": ALGORITHM, "Credential": f"{key_id}/{'/'.join(scope)}", "Date": stamp,
             "Expires": str(expires_s), "SignedHeaders": ";".join(signed)}
    if key[1] is not None:
        extra["Security-Token"] = key[1]
    pairs = parse_query(raw_query) + [(b"X-Amz-" + name.encode(), value.encode())
                                      for name, value in extra.items()]
    query = canonical_query(pairs)
    request = canonical_request(
        method, canonical_path(raw_path, service != "s3" if normalize is None else normalize),
        query, merged, signed, digest)
    return f"{query}&X-Amz-Signature=" + signature(key[0], scope,
                                                   string_to_sign(stamp, scope, request))
