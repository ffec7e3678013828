#!/usr/bin/python3
"""Makes the seeds of corpus/config/ again: configurations as the manual shows them and wrong ones."""

import os

HERE = os.path.dirname(os.path.abspath(__file__))
FILE, LIST = b"\1", b"\0"

CONFIG = {
    "file": FILE + b"# a comment\nsource = s3://weights/prod\nmountpoint=/models\n"
            b"owner-key = /etc/sealedfs/acme.pub\nmeasure = sha384\nmemory = 64M\n\tpcr\t= 14 \n",
    "file-twice": FILE + b"pcr = 14\npcr = 15\n",
    "file-section": FILE + b"[default]\npcr = 14\n",
    "file-no-value": FILE + b"pcr =\n",
    "file-list": FILE + b"owner-key = a b, c\nmodels = x\\,y,z\\\\\n",
    "file-many": FILE + b"".join(b"k%d = v\n" % n for n in range(70)),
    "list": LIST + b"ro,owner-key=a.pub,owner-key=b.pub,allow_other,mode=0440,uid=0,gid=7",
    "list-measure": LIST + b"measure=declared,ready=measured,pcr=8,allow-foreign-extend",
    "list-stage": LIST + b"stage=/var/cache/x,stage-size=10G,fill=all,memory=1G",
    "list-kms": LIST + b"kms-key=arn:aws:kms:eu-west-1:123456789012:key/"
                b"1234abcd-12ab-34cd-56ef-1234567890ab,region=eu-west-1,kms-endpoint=http://[::1]:1",
    "list-kms-short": LIST + b"kms-key=arn",
    "list-escapes": LIST + b"event-log=/a\\,b\\\\,fsname=x\\",
    "list-unknown": LIST + b"owner-kay=a.pub",
    "list-numbers": LIST + b"memory=99999999999999999999,mode=8,pcr=16,wait=-1",
    "list-empty": LIST + b",,,",
}


os.makedirs(os.path.join(HERE, "corpus", "config"), exist_ok=True)
for name, content in CONFIG.items():
    with open(os.path.join(HERE, "corpus", "config", name), "wb") as out:
        out.write(content)
