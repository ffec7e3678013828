/* no_means.h: the error that unlock.c reports if no slot fits any available means. */
#ifndef SEALEDFS_UNLOCK_NO_MEANS_H
#define SEALEDFS_UNLOCK_NO_MEANS_H

#include "crypto/base/error.h"
#include "crypto/sealed_head.h"

#define UNLOCK_RECIPIENTS_MAX \
	480 /* bytes of a list of recipients; fits the detail of seal_fail() */

/* -ENOKEY, with the recipients in err. */
int unlock_no_means(const struct sealed_head *head, const char *name, struct error *err);

#endif
