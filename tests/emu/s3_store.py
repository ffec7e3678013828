"""Where s3.py keeps objects: plain files, so that a test can damage them.

The object KEY of BUCKET is the file ROOT/BUCKET/KEY. A file put there by hand is an
object too. A key that cannot be a path (a//b, a/../b, "a" beside "a/b", a trailing slash,
a part over 255 bytes) goes to ROOT/.s3emu/flat; path() tells. ROOT/.s3emu also holds what a
file cannot say of itself (ETag, headers) and unfinished uploads.

A stored ETag is good only while the file's size and mtime are those of the PUT: an object
changed behind the server's back gets a new ETag, as if S3's content had been replaced. To
forge content under the old ETag keep the size and put the mtime back (touch -r).
All of this is served only after s3.py checked the request; nothing here checks who asks.
"""

import contextlib
import email.utils
import hashlib
import json
import os
import re
import secrets
import shutil
import threading
import time

MAX_KEY_BYTES = 1024
MAX_PUT_BYTES = 5 << 30
MAX_PARTS = 10000
MIN_PART_BYTES = 5 << 20
COPY_BYTES = 64 << 20
BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
UPLOAD_ID = re.compile(r"[0-9a-f]{32}\.\+[0-9a-f]{8}=")


class S3Error(Exception):
    """An error answer: S3's code, the message, the status and extra elements of the body."""

    STATUS = {
        "AccessDenied": 403, "BucketAlreadyOwnedByYou": 409, "BucketNotEmpty": 409,
        "ConditionalRequestConflict": 409, "InternalError": 500, "InvalidRange": 416,
        "MethodNotAllowed": 405, "MissingContentLength": 411, "NoSuchBucket": 404,
        "NoSuchKey": 404, "NoSuchUpload": 404, "NotImplemented": 501, "NotModified": 304,
        "PermanentRedirect": 301, "PreconditionFailed": 412, "RequestTimeTooSkewed": 403,
        "ServiceUnavailable": 503, "SignatureDoesNotMatch": 403, "InvalidAccessKeyId": 403,
        "SlowDown": 503, "TemporaryRedirect": 307, "TooManyRequests": 429,
    }

    def __init__(self, code, message="", status=None, headers=(), **detail):
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.detail = code, message or code, detail
        self.status = status or self.STATUS.get(code, 400)
        self.headers = list(headers)


class Meta:
    """What is told of an object besides its bytes."""

    def __init__(self, key, etag, size, mtime_ns, headers=None):
        self.key, self.etag, self.size, self.mtime_ns = key, etag, size, mtime_ns
        self.headers = headers or {}

    @property
    def modified_s(self):
        return self.mtime_ns // 1_000_000_000

    def last_modified(self):
        return email.utils.formatdate(self.modified_s, usegmt=True)

    def last_modified_iso(self):
        return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(self.modified_s))


class Conditions:
    """If-Match and If-None-Match of a request; an ETag may be given without its quotes."""

    def __init__(self, if_match=None, if_none_match=None):
        self.if_match, self.if_none_match = if_match, if_none_match

    @staticmethod
    def _has(header, etag):
        given = [part.strip().strip('"') for part in header.split(",")]
        return "*" in given or etag in given

    def check_read(self, meta):
        if self.if_match is not None and not self._has(self.if_match, meta.etag):
            raise _precondition("If-Match")
        if self.if_none_match is not None and self._has(self.if_none_match, meta.etag):
            raise S3Error("NotModified", headers=[("ETag", f'"{meta.etag}"')])

    def check_write(self, meta):
        if self.if_none_match is not None:
            if self.if_none_match.strip() != "*":
                raise S3Error("NotImplemented", "a write takes only If-None-Match: *")
            if meta is not None:
                raise _precondition("If-None-Match")
        if self.if_match is not None:
            if meta is None:
                raise S3Error("NoSuchKey", "The specified key does not exist.")
            if not self._has(self.if_match, meta.etag):
                raise _precondition("If-Match")


def _precondition(header):
    return S3Error("PreconditionFailed", "At least one of the pre-conditions you specified did "
                   "not hold", Condition=header)


class Store:
    def __init__(self, root, region, min_part_bytes=MIN_PART_BYTES):
        self.root = os.path.abspath(root)
        self.own = os.path.join(self.root, ".s3emu")
        self.region = region
        self.min_part_bytes = min_part_bytes
        self.regions = {}
        self._cache = {}
        self._lock = threading.RLock()
        for name in ("tmp", "uploads"):
            os.makedirs(os.path.join(self.own, name), exist_ok=True)
        # What a killed server left half-received was never an object.
        for name in os.listdir(os.path.join(self.own, "tmp")):
            path = os.path.join(self.own, "tmp", name)
            (shutil.rmtree if os.path.isdir(path) else os.unlink)(path)

    # Buckets

    def create_bucket(self, name, region=None):
        if not BUCKET_NAME.fullmatch(name):
            raise S3Error("InvalidBucketName", "The specified bucket is not valid.",
                          BucketName=name)
        with self._lock:
            for folder in (os.path.join(self.root, name), os.path.join(self.own, "flat", name),
                           os.path.join(self.own, "meta", name)):
                os.makedirs(folder, exist_ok=True)
            self.regions[name] = region or self.regions.get(name, self.region)

    def has_bucket(self, name):
        return bool(BUCKET_NAME.fullmatch(name)) and os.path.isdir(os.path.join(self.root, name))

    def need_bucket(self, name):
        if not self.has_bucket(name):
            raise S3Error("NoSuchBucket", "The specified bucket does not exist", BucketName=name)

    def region_of(self, name):
        return self.regions.get(name, self.region)

    def buckets(self):
        return sorted(name for name in os.listdir(self.root) if self.has_bucket(name))

    def delete_bucket(self, name):
        with self._lock:
            if self.keys(name):
                raise S3Error("BucketNotEmpty", "The bucket you tried to delete is not empty",
                              BucketName=name)
            for folder in (os.path.join(self.root, name), os.path.join(self.own, "flat", name),
                           os.path.join(self.own, "meta", name)):
                shutil.rmtree(folder, ignore_errors=True)
            self.regions.pop(name, None)

    # Names

    @staticmethod
    def _digest(key):
        return hashlib.sha256(key).hexdigest()

    def _natural(self, bucket, key):
        parts = key.split(b"/")
        if b"\0" in key or any(part in (b"", b".", b"..") or len(part) > 255 for part in parts):
            return None
        return os.fsencode(os.path.join(self.root, bucket)) + b"/" + key

    def _flat(self, bucket, key):
        return os.fsencode(os.path.join(self.own, "flat", bucket, self._digest(key)))

    def path(self, bucket, key):
        """The object's file, or None."""
        for path in (self._natural(bucket, key), self._flat(bucket, key)):
            if path is not None and os.path.isfile(path):
                return path
        return None

    def _place(self, bucket, key):
        """Where a new object may lie: natural if no other key is in its way."""
        natural = self._natural(bucket, key)
        if natural is not None and not os.path.isdir(natural):
            try:
                os.makedirs(os.path.dirname(natural), exist_ok=True)
                return natural
            except (FileExistsError, NotADirectoryError):
                pass
        os.makedirs(os.path.join(self.own, "flat", bucket), exist_ok=True)
        return self._flat(bucket, key)

    # Metadata

    def _meta_path(self, bucket, key):
        return os.path.join(self.own, "meta", bucket, self._digest(key) + ".json")

    def _load_meta(self, bucket, key):
        if (bucket, key) not in self._cache:
            try:
                with open(self._meta_path(bucket, key), encoding="utf-8") as file:
                    fields = json.load(file)
                self._cache[bucket, key] = Meta(key, fields["etag"], fields["size"],
                                                fields["mtime_ns"], fields["headers"])
            except (OSError, ValueError):
                return None
        return self._cache[bucket, key]

    def _save_meta(self, bucket, meta):
        self._cache[bucket, meta.key] = meta
        path = self._meta_path(bucket, meta.key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"key": os.fsdecode(meta.key), "etag": meta.etag, "size": meta.size,
                       "mtime_ns": meta.mtime_ns, "headers": meta.headers}, file)

    def _meta_of(self, bucket, key, info):
        meta = self._load_meta(bucket, key)
        if meta and (meta.size, meta.mtime_ns) == (info.st_size, info.st_mtime_ns):
            return meta
        etag = hashlib.md5(f"{info.st_ino} {info.st_size} {info.st_mtime_ns}".encode()).hexdigest()
        return Meta(key, etag, info.st_size, info.st_mtime_ns)

    def head(self, bucket, key):
        """Meta, or None."""
        with self._lock:
            path = self.path(bucket, key)
            return None if path is None else self._meta_of(bucket, key, os.stat(path))

    def open(self, bucket, key):
        """(file, Meta); the file stays what it was when the key is replaced."""
        with self._lock:
            path = self.path(bucket, key)
            if path is None:
                raise S3Error("NoSuchKey", "The specified key does not exist.",
                              Key=os.fsdecode(key))
            file = open(path, "rb", buffering=0)
            return file, self._meta_of(bucket, key, os.fstat(file.fileno()))

    def keys(self, bucket):
        """Every (key, path), sorted by the key's bytes as S3 lists them."""
        top = os.fsencode(os.path.join(self.root, bucket))
        found = []
        for folder, _, names in os.walk(top):
            found += [(os.path.join(folder, name)[len(top) + 1:], os.path.join(folder, name))
                      for name in names]
        flat = os.path.join(self.own, "flat", bucket)
        for name in os.listdir(flat) if os.path.isdir(flat) else ():
            with contextlib.suppress(OSError, ValueError):
                with open(os.path.join(self.own, "meta", bucket, name + ".json"),
                          encoding="utf-8") as file:
                    found.append((os.fsencode(json.load(file)["key"]),
                                  os.fsencode(os.path.join(flat, name))))
        return sorted(found)

    # Writing

    @contextlib.contextmanager
    def receive(self, request):
        """The request's body in a new file, as (path, MD5); gone unless it was renamed."""
        path = os.path.join(self.own, "tmp", secrets.token_hex(8))
        try:
            with open(path, "xb", buffering=0) as file:
                md5 = request.save_body(file)
            yield path, md5
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def commit(self, bucket, key, path, etag, headers, conditions):
        """Make the file at path the object, all at once."""
        with self._lock:
            conditions.check_write(self.head(bucket, key))
            # One nanosecond before the file's own time: a change of the content within
            # the same tick of the kernel's clock still changes the mtime.
            info = os.stat(path)
            mtime_ns = info.st_mtime_ns - 1
            os.utime(path, ns=(mtime_ns, mtime_ns))
            old, place = self.path(bucket, key), self._place(bucket, key)
            self._save_meta(bucket, Meta(key, etag, info.st_size, mtime_ns, headers))
            os.rename(path, place)
            if old is not None and old != place:
                os.unlink(old)

    def delete(self, bucket, key):
        with self._lock:
            path = self.path(bucket, key)
            if path is None:
                return
            os.unlink(path)
            self._cache.pop((bucket, key), None)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._meta_path(bucket, key))
            top = os.fsencode(os.path.join(self.root, bucket))
            folder = os.path.dirname(path)
            with contextlib.suppress(OSError):
                while folder.startswith(top + b"/"):
                    os.rmdir(folder)
                    folder = os.path.dirname(folder)

    # Multipart uploads

    def create_upload(self, bucket, key, headers):
        # S3's ids hold characters that must be encoded in a query; so do these.
        upload_id = secrets.token_hex(16) + ".+" + secrets.token_hex(4) + "="
        folder = self._upload_folder(upload_id)
        os.mkdir(folder)
        self._write_json(os.path.join(folder, "upload.json"), {
            "bucket": bucket, "key": os.fsdecode(key), "headers": headers, "time": time.time()})
        return upload_id

    @staticmethod
    def _write_json(path, value):
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(value, file)
        os.rename(path + ".new", path)

    def _upload_folder(self, upload_id):
        return os.path.join(self.own, "uploads", upload_id)

    def need_upload(self, bucket, key, upload_id):
        folder, upload = self._upload_folder(upload_id), {}
        if UPLOAD_ID.fullmatch(upload_id):
            with contextlib.suppress(FileNotFoundError):
                with open(os.path.join(folder, "upload.json"), encoding="utf-8") as file:
                    upload = json.load(file)
        if (upload.get("bucket"), upload.get("key")) != (bucket, os.fsdecode(key)):
            raise S3Error("NoSuchUpload", "The specified upload does not exist. The upload ID may "
                          "be invalid, or the upload may have been aborted or completed.",
                          UploadId=upload_id)
        return folder, upload

    def put_part(self, bucket, key, upload_id, number, path, etag):
        with self._lock:
            folder, _ = self.need_upload(bucket, key, upload_id)
            os.rename(path, os.path.join(folder, f"{number:05d}"))
            self._write_json(os.path.join(folder, f"{number:05d}.json"), {"etag": etag})

    def parts(self, folder):
        """{number: (size, etag)}"""
        result = {}
        for name in sorted(os.listdir(folder)):
            if re.fullmatch(r"\d{5}", name):
                with open(os.path.join(folder, name + ".json"), encoding="utf-8") as file:
                    result[int(name)] = (os.path.getsize(os.path.join(folder, name)),
                                         json.load(file)["etag"])
        return result

    def uploads(self, bucket):
        """[(key, upload id, time)] in the order of the keys."""
        found = []
        for name in os.listdir(os.path.join(self.own, "uploads")):
            with contextlib.suppress(OSError):
                with open(os.path.join(self.own, "uploads", name, "upload.json"),
                          encoding="utf-8") as file:
                    upload = json.load(file)
                if upload["bucket"] == bucket:
                    found.append((os.fsencode(upload["key"]), name, upload["time"]))
        return sorted(found)

    def abort_upload(self, bucket, key, upload_id):
        with self._lock:
            folder, _ = self.need_upload(bucket, key, upload_id)
            shutil.rmtree(folder)

    def complete_upload(self, bucket, key, upload_id, wanted, conditions):
        """wanted: [(number, etag)] as the client lists them. Returns the ETag."""
        with self._lock:
            folder, upload = self.need_upload(bucket, key, upload_id)
            conditions.check_write(self.head(bucket, key))
            have = self.parts(folder)
            self._check_parts(have, wanted, upload_id)
            aside = os.path.join(self.own, "tmp", secrets.token_hex(8))
            os.rename(folder, aside)
        try:
            numbers = [number for number, _ in wanted]
            digest = hashlib.md5(b"".join(bytes.fromhex(have[number][1]) for number in numbers))
            etag = f"{digest.hexdigest()}-{len(numbers)}"
            self.commit(bucket, key, self._join(aside, numbers), etag, upload["headers"],
                        conditions)
        except S3Error as error:
            # The condition held when the work began: another writer came first.
            raise S3Error("ConditionalRequestConflict", "A conflicting operation occurred. Start "
                          "the multipart upload again.", Condition="If-None-Match") from error
        finally:
            shutil.rmtree(aside)
        return etag

    def _check_parts(self, have, wanted, upload_id):
        if not wanted:
            raise S3Error("MalformedXML", "You must specify at least one part")
        numbers = [number for number, _ in wanted]
        if numbers != sorted(set(numbers)):
            raise S3Error("InvalidPartOrder", "The list of parts was not in ascending order. "
                          "Parts must be ordered by part number.", UploadId=upload_id)
        for number, etag in wanted:
            if number not in have or have[number][1] != etag.strip('"'):
                raise S3Error("InvalidPart", "One or more of the specified parts could not be "
                              "found.", UploadId=upload_id, PartNumber=str(number), ETag=etag)
        for number in numbers[:-1]:
            if have[number][0] < self.min_part_bytes:
                raise S3Error("EntityTooSmall", "Your proposed upload is smaller than the minimum "
                              "allowed size", PartNumber=str(number),
                              ProposedSize=str(have[number][0]),
                              MinSizeAllowed=str(self.min_part_bytes))

    @staticmethod
    def _join(folder, numbers):
        """Append every part to the first, inside the kernel; each is removed once copied."""
        paths = [os.path.join(folder, f"{number:05d}") for number in numbers]
        with open(paths[0], "r+b", buffering=0) as whole:
            whole.seek(0, os.SEEK_END)
            for path in paths[1:]:
                with open(path, "rb", buffering=0) as part:
                    while os.sendfile(whole.fileno(), part.fileno(), None, COPY_BYTES):
                        pass
                os.unlink(path)
        return paths[0]
