"""What S3 does for each request: the operations of s3.py, over s3_store.Store.

OPERATIONS is the whole surface: a request that fits no line of it, by method, target and
names of its query, is refused with NotImplemented. Callers have checked the signature.
"""

import re
import urllib.parse

import s3_xml
from s3_http import FileBody, Reply
from s3_store import MAX_KEY_BYTES, MAX_PARTS, Conditions, Meta, S3Error
from s3_xml import document, element

XML = "application/xml"
MAX_XML_BYTES = 2 << 20
KEPT_HEADERS = ("content-type", "cache-control", "content-disposition", "content-encoding",
                "content-language", "expires")
EMPTY = frozenset()


def is_kept(name):
    return name in KEPT_HEADERS or name.startswith("x-amz-meta-")


def parse_range(header, size):
    """(first, count) of a Range header, or None for the whole object. S3 ignores what it
    does not understand, several ranges among it."""
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", (header or "").strip())
    if not match or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    unsatisfiable = S3Error("InvalidRange", "The requested range is not satisfiable",
                            RangeRequested=header, ActualObjectSize=str(size))
    if first == "":
        count = min(int(last), size)
        if count == 0:
            raise unsatisfiable
        return size - count, count
    first, last = int(first), int(last) if last else size - 1
    if first >= size:
        raise unsatisfiable
    if last < first:
        return None
    return first, min(last, size - 1) - first + 1


class Call:
    """One request on one bucket and key."""

    def __init__(self, request, bucket, key, query):
        self.request, self.bucket, self.key, self.query = request, bucket, key, query

    def conditions(self):
        return Conditions(self.request.get("if-match"), self.request.get("if-none-match"))

    def kept_headers(self):
        return {name.lower(): value for name, value in self.request.headers
                if is_kept(name.lower())}

    def location(self):
        return f"http://{self.request.get('host')}/{self.bucket}/{urllib.parse.quote(self.key)}"


class Operations:
    def __init__(self, store, settings, lister):
        self.store, self.settings, self.lister = store, settings, lister

    def run(self, call):
        """Find the operation by method, target and query names, and do it."""
        names = set(call.query)
        target = "object" if call.key else "bucket" if call.bucket else "service"
        for method, on, needed, allowed, name in OPERATIONS:
            if method == call.request.method and on == target and needed <= names \
                    and names <= needed | allowed:
                if target != "service" and name != "create_bucket":
                    self.store.need_bucket(call.bucket)
                if len(call.key) > MAX_KEY_BYTES:
                    raise S3Error("KeyTooLongError", "Your key is too long",
                                  MaxSizeAllowed=str(MAX_KEY_BYTES))
                if call.request.method in ("GET", "HEAD", "DELETE"):
                    call.request.read_body(MAX_XML_BYTES)
                return getattr(self, name)(call)
        raise S3Error("NotImplemented", "A header or query you provided implies functionality "
                      f"that is beyond this server: {call.request.method} of {target} with "
                      f"{sorted(names)}")

    # The service and buckets

    def list_buckets(self, _):
        buckets = [element("Bucket", element("Name", name),
                           element("CreationDate", "2026-01-01T00:00:00.000Z"))
                   for name in self.store.buckets()]
        return Reply(200, body=document("ListAllMyBucketsResult",
                                        element("Buckets", *buckets)), content_type=XML)

    def create_bucket(self, call):
        region = s3_xml.parse_location(call.request.read_body(MAX_XML_BYTES))
        if self.store.has_bucket(call.bucket):
            raise S3Error("BucketAlreadyOwnedByYou", "Your previous request to create the named "
                          "bucket succeeded and you already own it.", BucketName=call.bucket)
        self.store.create_bucket(call.bucket, region)
        return Reply(200, [("Location", "/" + call.bucket)])

    def delete_bucket(self, call):
        self.store.delete_bucket(call.bucket)
        return Reply(204)

    def head_bucket(self, call):
        return Reply(200, [("x-amz-bucket-region", self.store.region_of(call.bucket))])

    def get_location(self, call):
        region = self.store.region_of(call.bucket)
        return Reply(200, body=document("LocationConstraint",
                                        "" if region == "us-east-1" else region),
                     content_type=XML)

    def get_versioning(self, _):
        return Reply(200, body=document("VersioningConfiguration"), content_type=XML)

    def list_objects(self, call):
        if call.query["list-type"] != "2":
            raise S3Error("InvalidArgument", "list-type must be 2",
                          ArgumentName="list-type", ArgumentValue=call.query["list-type"])
        self.lister.page_size = self.settings["page_size"]
        body = self.lister.answer(call.bucket, self.store.keys(call.bucket), call.query,
                                  lambda key: self.store.head(call.bucket, key))
        return Reply(200, [("x-amz-bucket-region", self.store.region_of(call.bucket))], body, XML)

    def list_uploads(self, call):
        prefix = call.query.get("prefix", "")
        found = [upload for upload in self.store.uploads(call.bucket)
                 if upload[0].startswith(prefix.encode())]
        limit = min(int(call.query.get("max-uploads", "1000")), self.settings["page_size"])
        # Pages continue after the last key and upload id of the one before.
        marker = (call.query.get("key-marker", "").encode(),
                  call.query.get("upload-id-marker", "\U0010ffff"))
        if call.query.get("key-marker"):
            found = [upload for upload in found if (upload[0], upload[1]) > marker]
        body = [element("Bucket", call.bucket), element("Prefix", prefix),
                element("MaxUploads", limit),
                element("IsTruncated", "true" if len(found) > limit else "false")]
        if len(found) > limit:
            key, upload_id, _ = found[limit - 1]
            body += [element("NextKeyMarker", key.decode()),
                     element("NextUploadIdMarker", upload_id)]
        for key, upload_id, time_s in found[:limit]:
            initiated = Meta(key, "", 0, int(time_s * 1e9)).last_modified_iso()
            body.append(element("Upload", element("Key", key.decode()),
                                element("UploadId", upload_id),
                                element("StorageClass", "STANDARD"),
                                element("Initiated", initiated)))
        return Reply(200, body=document("ListMultipartUploadsResult", *body), content_type=XML)

    # Objects

    @staticmethod
    def _object_headers(meta):
        headers = [("ETag", f'"{meta.etag}"'), ("Last-Modified", meta.last_modified()),
                   ("Accept-Ranges", "bytes")]
        kept = {"content-type": "binary/octet-stream", **meta.headers}
        return headers + list(kept.items())

    def get_object(self, call):
        file, meta = self.store.open(call.bucket, call.key)
        try:
            call.conditions().check_read(meta)
            wanted = parse_range(call.request.get("range"), meta.size)
            rule = call.request.rule
            if wanted is None or (rule is not None and rule.kind == "full"):
                return Reply(200, self._object_headers(meta), FileBody(file, 0, meta.size))
            first, count = wanted
            if rule is not None and rule.kind == "short":
                count = max(1, min(count - 1, int(rule.get("bytes", count // 2))))
            shift = rule.get("shift", 1) if rule and rule.kind == "content-range" else 0
            reply = Reply(206, self._object_headers(meta), FileBody(file, first, count))
            reply.set("Content-Range", f"bytes {first + shift}-{first + shift + count - 1}"
                      f"/{meta.size}")
            return reply
        except BaseException:
            file.close()
            raise

    def put_object(self, call):
        if call.request.get("x-amz-copy-source") is not None:
            raise S3Error("NotImplemented", "CopyObject is beyond this server")
        conditions = call.conditions()
        conditions.check_write(self.store.head(call.bucket, call.key))
        with self.store.receive(call.request) as (path, etag):
            self.store.commit(call.bucket, call.key, path, etag, call.kept_headers(), conditions)
        return Reply(200, [("ETag", f'"{etag}"')])

    def delete_object(self, call):
        self.store.delete(call.bucket, call.key)
        return Reply(204)

    # Multipart uploads

    @staticmethod
    def _no_conditions(call):
        if call.request.get("if-match") or call.request.get("if-none-match"):
            raise S3Error("NotImplemented", "conditions are not accepted on this operation")

    def create_upload(self, call):
        self._no_conditions(call)
        call.request.read_body(MAX_XML_BYTES)
        upload_id = self.store.create_upload(call.bucket, call.key, call.kept_headers())
        return Reply(200, body=document(
            "InitiateMultipartUploadResult", element("Bucket", call.bucket),
            element("Key", call.key.decode()), element("UploadId", upload_id)), content_type=XML)

    def upload_part(self, call):
        self._no_conditions(call)
        text = call.query["partNumber"]
        if not text.isdecimal() or not 1 <= int(text) <= MAX_PARTS:
            raise S3Error("InvalidArgument", "Part number must be an integer between 1 and "
                          f"{MAX_PARTS}, inclusive", ArgumentName="partNumber",
                          ArgumentValue=text)
        self.store.need_upload(call.bucket, call.key, call.query["uploadId"])
        with self.store.receive(call.request) as (path, etag):
            self.store.put_part(call.bucket, call.key, call.query["uploadId"], int(text), path,
                                etag)
        return Reply(200, [("ETag", f'"{etag}"')])

    def complete_upload(self, call):
        parts = s3_xml.parse_complete(call.request.read_body(MAX_XML_BYTES))
        etag = self.store.complete_upload(call.bucket, call.key, call.query["uploadId"], parts,
                                          call.conditions())
        return Reply(200, body=document(
            "CompleteMultipartUploadResult", element("Location", call.location()),
            element("Bucket", call.bucket), element("Key", call.key.decode()),
            element("ETag", f'"{etag}"')), content_type=XML)

    def abort_upload(self, call):
        self.store.abort_upload(call.bucket, call.key, call.query["uploadId"])
        return Reply(204)

    def list_parts(self, call):
        folder, _ = self.store.need_upload(call.bucket, call.key, call.query["uploadId"])
        parts = [element("Part", element("PartNumber", number), element("ETag", f'"{etag}"'),
                         element("Size", size))
                 for number, (size, etag) in self.store.parts(folder).items()]
        return Reply(200, body=document(
            "ListPartsResult", element("Bucket", call.bucket),
            element("Key", call.key.decode()), element("UploadId", call.query["uploadId"]),
            element("IsTruncated", "false"), *parts), content_type=XML)


# method, target, query names needed, query names allowed besides, function
OPERATIONS = [
    ("GET", "service", EMPTY, EMPTY, "list_buckets"),
    ("PUT", "bucket", EMPTY, EMPTY, "create_bucket"),
    ("DELETE", "bucket", EMPTY, EMPTY, "delete_bucket"),
    ("HEAD", "bucket", EMPTY, EMPTY, "head_bucket"),
    ("GET", "bucket", {"location"}, EMPTY, "get_location"),
    ("GET", "bucket", {"versioning"}, EMPTY, "get_versioning"),
    ("GET", "bucket", {"list-type"}, {"prefix", "delimiter", "max-keys", "continuation-token",
                                      "start-after", "encoding-type", "fetch-owner"},
     "list_objects"),
    ("GET", "bucket", {"uploads"}, {"prefix", "max-uploads", "key-marker", "upload-id-marker",
                                    "encoding-type"}, "list_uploads"),
    ("GET", "object", EMPTY, EMPTY, "get_object"),
    ("HEAD", "object", EMPTY, EMPTY, "get_object"),
    ("PUT", "object", EMPTY, EMPTY, "put_object"),
    ("DELETE", "object", EMPTY, EMPTY, "delete_object"),
    ("POST", "object", {"uploads"}, EMPTY, "create_upload"),
    ("PUT", "object", {"partNumber", "uploadId"}, EMPTY, "upload_part"),
    ("POST", "object", {"uploadId"}, EMPTY, "complete_upload"),
    ("DELETE", "object", {"uploadId"}, EMPTY, "abort_upload"),
    ("GET", "object", {"uploadId"}, EMPTY, "list_parts"),
]
