/*
 * aws_sample.h: models as AWS's sample application publishes them
 * (aws-samples/sample-mpc-app-using-aws-nitrotpm): NAME.enc, which is a nonce of 12 bytes, the
 * whole file under AES-256-GCM, and a tag of 16 bytes; beside it NAME.datakey.enc, the data key as
 * KMS wrapped it without an encryption context. The second route of the sample calls them
 * NAME.encrypted and NAME.datakey.
 */
#ifndef SEALEDFS_TOOLS_AWS_SAMPLE_H
#define SEALEDFS_TOOLS_AWS_SAMPLE_H

#include "tools/common/cli.h"
#include "tools/common/input.h"

/* NAME, fresh memory. -EINVAL: object is not called like a model of the sample. */
int aws_sample_name(const char *object, char **ret, struct error *err);
/*
 * The plaintext of object (s3://bucket/path/NAME.enc, or a file's path) as an input. It comes
 * unchecked, because the tag is the last thing to be read: input_finish() gives -EBADMSG if
 * anything of it was wrong. kms_key: the only KMS key that may have wrapped the data key; NULL:
 * any, and a notice says which. Errors as source_read() and kms_decrypt_foreign().
 */
int aws_sample_open(struct cli *cli, const char *object, const char *kms_key, struct input **ret,
		    struct error *err);

#endif
