/*
 * checkout.h: directories as people have them: a git checkout, or what Hugging Face's tools leave.
 */
#ifndef SEALEDFS_TOOLS_CHECKOUT_H
#define SEALEDFS_TOOLS_CHECKOUT_H

#include "crypto/base/error.h"
#include "crypto/facts.h"

/* Facts of a set: crypto/FORMAT.md section 11.2. */
#define FACT_ORIGIN_REPOSITORY "origin.repository"
#define FACT_ORIGIN_REVISION "origin.revision"

/* What the directory says about where it comes from; nothing where it does not. -ENOMEM. */
int checkout_facts(const char *directory, struct facts *ret);
/* The folder beside a snapshot of Hugging Face's cache into which its links lead, malloc()ed; real:
 * the resolved path of the snapshot. NULL: it is none. */
char *checkout_blobs(const char *real);
/* True for the tools' own folders in the root of a checkout: they are no part of the model. */
bool checkout_is_own(const char *name);
/* True when the file is a pointer of git-LFS in place of the content. */
bool checkout_is_pointer(int fd);

#endif
