/*
 * tables.h: the tags and hashes of files' chunks: 48 bytes for each, some hundred kB for a model of
 * a few GB, but 1.5 GiB for the largest. They count against the budget, and those of an unused file
 * are evicted for those of another: later they are read again, and compared with the hash in the
 * core that the file was opened with. Private to fs/read, except for the functions in read.h.
 *
 * Threads: any. The lock is not held during a request to a source.
 */
#ifndef SEALEDFS_READ_TABLES_H
#define SEALEDFS_READ_TABLES_H

#include "crypto/base/allowance.h"

#include <pthread.h>
#include <stdbool.h>

struct read_file;
struct tables;

void tables_init(struct tables *t, struct allowance *allowance);
void tables_done(struct tables *t);
/* The file goes. */
void tables_forget(struct tables *t, struct read_file *f);
/* Bytes that the file keeps until it is freed; evicts others' tables for them. -ENOBUFS, with its
 * message. */
int tables_keep(struct tables *t, struct read_file *f, size_t bytes, struct error *err);

#endif
