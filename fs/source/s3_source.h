/*
 * s3_source.h: sealed objects below s3://bucket/prefix/. Private to fs/source.
 */
#ifndef SEALEDFS_SOURCE_S3_SOURCE_H
#define SEALEDFS_SOURCE_S3_SOURCE_H

#include "fs/source/source_backend.h"

/* spec: what follows "s3://". aws must outlive the source. */
int s3_source_open(const char *spec, struct aws *aws, struct source **ret, struct error *err);

#endif
