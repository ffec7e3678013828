"""Publishes a model as AWS's sample application does, step by step (aws-samples/sample-mpc-app-using-aws-nitrotpm at
72de238, backend/model_owner_manager.py): a data key from KMS without an encryption context, the whole
file under AES-256-GCM, both uploaded beside each other. Written from the sample's behaviour."""

import base64
import http.client
import json
import os
import sys
import urllib.parse

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "emu"))
import s3_client  # noqa: E402
import sigv4  # noqa: E402

READ_BYTES = 8192


class Publisher:
    """One owner. access: (access key id, secret)."""

    def __init__(self, s3_url, kms_url, access, region="us-east-1"):
        self.s3_url, self.kms_url, self.access, self.region = s3_url, kms_url, access, region

    def generate_data_key(self, kms_key):
        """(plaintext, CiphertextBlob)"""
        place = urllib.parse.urlsplit(self.kms_url)
        body = json.dumps({"KeyId": kms_key, "KeySpec": "AES_256"}).encode()
        headers = [("Host", place.netloc), ("Content-Type", "application/x-amz-json-1.1"),
                   ("X-Amz-Target", "TrentService.GenerateDataKey")]
        headers = sigv4.sign("POST", "/", "", headers, body, self.access[0], (self.access[1], None),
                             self.region, "kms")
        connection = http.client.HTTPConnection(place.netloc, timeout=60)
        connection.request("POST", "/", body, dict(headers))
        answer = connection.getresponse()
        value = json.loads(answer.read())
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"GenerateDataKey: {value}")
        return base64.b64decode(value["Plaintext"]), base64.b64decode(value["CiphertextBlob"])

    @staticmethod
    def encrypt(model, key):
        """nonce, ciphertext, tag; and the nonce."""
        iv = os.urandom(12)
        encryptor = Cipher(algorithms.AES(key), modes.GCM(iv)).encryptor()
        out = [iv]
        with open(model, "rb") as source:
            while True:
                piece = source.read(READ_BYTES)
                if not piece:
                    break
                out.append(encryptor.update(piece))
        out += [encryptor.finalize(), encryptor.tag]
        return b"".join(out), iv

    def put(self, bucket, key, body):
        client = s3_client.Client(self.s3_url, {self.access[0]: (self.access[1], None)})
        answer = client.request("PUT", f"/{bucket}/{s3_client.quote(key)}", body=body)
        client.close()
        if answer.status != 200:
            raise RuntimeError(f"PUT {key}: {answer}")

    def publish(self, model, bucket, path, kms_key, other_route=False):
        """The model's key in the bucket. other_route: as model_manager.py's upload_encrypted_model() names them."""
        plain_key, wrapped_key = self.generate_data_key(kms_key)
        encrypted, iv = self.encrypt(model, plain_key)
        name = os.path.basename(model)
        if other_route:
            self.put(bucket, f"{name}.encrypted", encrypted)
            self.put(bucket, f"{name}.datakey", wrapped_key)
            return f"{name}.encrypted"
        self.put(bucket, f"{path}/{name}.enc", encrypted)
        self.put(bucket, f"{path}/{name}.datakey.enc", wrapped_key)
        self.put(bucket, f"{path}/iv.hex", iv.hex().encode())
        return f"{path}/{name}.enc"
