"""The XML of s3.py's answers, the one request body it reads, and ListObjectsV2.

S3 puts any byte sequence that is UTF-8 into a key, so keys are escaped here as S3 does it,
control characters included; with encoding-type=url they are URL-encoded with "+" for space.
"""

import base64
import hmac
import json
import os
import urllib.parse
import xml.etree.ElementTree

from s3_store import MAX_PARTS, S3Error

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
# Makes every token hold the base64 characters that must be encoded in a query: + / =
TOKEN_MARK = b"\xfb\xef\xbf\xff"
TAG_BYTES = 12


class Xml(str):
    """Text that is markup already."""


def escape(text):
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = text.replace('"', "&quot;")
    return "".join(f"&#x{ord(char):x};" if ord(char) < 0x20 else char for char in text)


def element(name, *content):
    return Xml(f"<{name}>" + "".join(part if isinstance(part, Xml) else escape(str(part))
                                     for part in content) + f"</{name}>")


def document(name, *content):
    whole = element(name, *content)
    return (HEAD + whole.replace(f"<{name}>", f'<{name} xmlns="{NAMESPACE}">', 1)).encode()


def error_document(error, request_id, host_id):
    """The <Error> of an S3Error or a SigV4Error, which carry the same fields."""
    fields = {"Code": error.code, "Message": error.message, **error.detail,
              "RequestId": request_id, "HostId": host_id}
    return (HEAD + element("Error", *(element(name, value)
                                      for name, value in fields.items()))).encode()


def parse_complete(body):
    """[(part number, etag)] of a CompleteMultipartUpload body."""
    malformed = S3Error("MalformedXML", "The XML you provided was not well-formed or did not "
                        "validate against our published schema")
    try:
        root = xml.etree.ElementTree.fromstring(body)
    except xml.etree.ElementTree.ParseError:
        raise malformed from None
    if root.tag.rpartition("}")[2] != "CompleteMultipartUpload":
        raise malformed
    parts = []
    for part in root:
        fields = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in part}
        number = fields.get("PartNumber", "")
        if part.tag.rpartition("}")[2] != "Part" or not fields.get("ETag") \
                or not number.isdecimal() or not 1 <= int(number) <= MAX_PARTS:
            raise malformed
        parts.append((int(number), fields["ETag"]))
    return parts


def parse_location(body):
    """The LocationConstraint of a CreateBucket body, or None."""
    if not body:
        return None
    try:
        root = xml.etree.ElementTree.fromstring(body)
    except xml.etree.ElementTree.ParseError:
        raise S3Error("MalformedXML") from None
    for child in root:
        if child.tag.rpartition("}")[2] == "LocationConstraint":
            return child.text
    return None


class Lister:
    """ListObjectsV2 over sorted keys. page_size caps max-keys."""

    def __init__(self, page_size):
        self.page_size = page_size
        self._secret = os.urandom(32)

    def _make_token(self, after, is_prefix):
        data = json.dumps([after.hex(), is_prefix]).encode()
        # A length that is no multiple of three leaves an "=" at the end.
        data += b"" if (len(TOKEN_MARK) + TAG_BYTES + len(data)) % 3 else b" "
        return base64.b64encode(TOKEN_MARK + self._tag(data) + data).decode()

    def _tag(self, data):
        return hmac.digest(self._secret, data, "sha256")[:TAG_BYTES]

    def _read_token(self, text):
        try:
            data = base64.b64decode(text, validate=True)
            mark, data = data[:len(TOKEN_MARK)], data[len(TOKEN_MARK):]
            tag, data = data[:TAG_BYTES], data[TAG_BYTES:]
            if mark == TOKEN_MARK and hmac.compare_digest(tag, self._tag(data)):
                after, is_prefix = json.loads(data)
                return bytes.fromhex(after), is_prefix
        except ValueError:
            pass
        raise S3Error("InvalidArgument", "The continuation token provided is incorrect",
                      ArgumentName="continuation-token", ArgumentValue=text)

    @staticmethod
    def _number(text):
        if not text.isdecimal() or int(text) > 2**31 - 1:
            raise S3Error("InvalidArgument", "Provided max-keys not an integer or within integer "
                          "range", ArgumentName="max-keys", ArgumentValue=text)
        return int(text)

    @staticmethod
    def _page(keys, prefix, delimiter, after, after_is_prefix, limit):
        """(entries, last, last is a prefix, truncated); an entry: (key, path or None)."""
        entries, seen = [], None
        for key, path in keys:
            if not key.startswith(prefix) or key <= after \
                    or (after_is_prefix and key.startswith(after)):
                continue
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            group = key[:cut + len(delimiter)] if cut >= 0 else None
            if group is not None and group == seen:
                continue
            if len(entries) == limit:
                return entries, True
            seen = group
            entries.append((key if group is None else group, path if group is None else None))
        return entries, False

    def answer(self, bucket, keys, query, head):
        """query: {name: str}; head(key) -> Meta or None. Returns the XML."""
        encoding = query.get("encoding-type")
        if encoding not in (None, "url"):
            raise S3Error("InvalidArgument", "Invalid Encoding Method specified in Request",
                          ArgumentName="encoding-type", ArgumentValue=encoding)

        def text(value):
            value = value if isinstance(value, str) else value.decode("utf-8", "replace")
            return urllib.parse.quote_plus(value, safe="/*") if encoding else value

        asked = self._number(query.get("max-keys", "1000"))
        limit = min(asked, self.page_size, 1000)
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        token, start = query.get("continuation-token"), query.get("start-after")
        after, after_is_prefix = (start or "").encode(), False
        if token is not None:
            after, after_is_prefix = self._read_token(token)
        entries, truncated = self._page(keys, prefix.encode(), delimiter.encode(), after,
                                        after_is_prefix, limit)
        truncated = truncated and limit > 0
        body = [element("Name", bucket), element("Prefix", text(prefix)),
                element("KeyCount", len(entries)), element("MaxKeys", min(asked, 1000)),
                element("IsTruncated", "true" if truncated else "false")]
        for name, value in (("Delimiter", delimiter), ("StartAfter", start)):
            if value:
                body.append(element(name, text(value)))
        if encoding:
            body.append(element("EncodingType", encoding))
        if token is not None:
            body.append(element("ContinuationToken", token))
        if truncated:
            key, path = entries[-1]
            body.append(element("NextContinuationToken", self._make_token(key, path is None)))
        for key, path in entries:
            if path is None:
                continue
            meta = head(key)
            if meta is not None:
                body.append(element(
                    "Contents", element("Key", text(key)),
                    element("LastModified", meta.last_modified_iso()),
                    element("ETag", f'"{meta.etag}"'), element("Size", meta.size),
                    element("StorageClass", "STANDARD")))
        body += [element("CommonPrefixes", element("Prefix", text(key)))
                 for key, path in entries if path is None]
        return document("ListBucketResult", *body)
