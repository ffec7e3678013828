/*
 * pagecache.h: tracks which chunks of each file the kernel's page cache has received, and pushes
 * more: every push of the daemon goes through pagecache_push().
 *
 * A push waits for pages that a current READ has locked, so no thread that answers a READ may push,
 * and of the resources that a READ waits for, only one buffer is held while pushing. Pushing ends
 * when memory runs out (memory.h), when the kernel does not know the file, and permanently on
 * pagecache_stop().
 * Private to fs/read. Threads: any.
 */
#ifndef SEALEDFS_READ_PAGECACHE_H
#define SEALEDFS_READ_PAGECACHE_H

#include "fs/read/read.h"

/* Left free for the daemon's own buffers and for others. */
#define PAGECACHE_MARGIN ((uint64_t)64 << 20)
/* How often memory is checked. */
#define PAGECACHE_ROOM_MS 100
/* How often the kernel is made to look up a file that it does not know: once for each filling
 * thread, because another thread's attempt may still be running. */
#define PAGECACHE_INTRODUCTIONS 2

struct pagecache;
struct readers;

/* readers must outlive it. */
int pagecache_new(const struct read_engine_options *options, struct readers *readers,
		  struct pagecache **ret);
void pagecache_free(struct pagecache *t);
/* No push begins any more. */
void pagecache_stop(struct pagecache *t);
/* False: nothing is ever pushed. */
bool pagecache_is_on(const struct pagecache *t);

/* A READ gives the kernel this range. */
void pagecache_note(struct pagecache *t, struct read_file *f, uint64_t offset, uint64_t size);
/* The kernel may be made to look the file up once more. */
void pagecache_may_introduce(struct pagecache *t, struct read_file *f);

bool pagecache_has_all(struct pagecache *t, struct read_file *f);
/*
 * The next chunk that the kernel lacks, at a distance from readers; no other caller gets it until
 * it is pushed or abandoned. -EAGAIN: none now. -ENOSPC: no room now. -ENODATA: the kernel has all.
 */
int pagecache_choose(struct pagecache *t, struct read_file *f, uint64_t now_ms, uint64_t *ret);
/*
 * The same for a chunk that is decrypted. rest_fits: the whole file must have room beside what is
 * there. -ENOSPC.
 */
int pagecache_take(struct pagecache *t, struct read_file *f, uint64_t chunk, bool rest_fits,
		   uint64_t now_ms);
/* A chunk that was chosen or taken is not pushed. */
void pagecache_give_up(struct pagecache *t, struct read_file *f, uint64_t chunk);
/*
 * Gives the kernel a checked chunk that was chosen or taken. introduce: makes the kernel look the
 * file up if it does not know it; not for a thread that may have to answer that lookup. Negative:
 * the chunk is abandoned; no more of this file.
 */
int pagecache_push(struct pagecache *t, struct read_file *f, uint64_t chunk, const uint8_t *data,
		   size_t size, bool introduce);
/* No push of f may be running. */
void pagecache_forget(struct pagecache *t, struct read_file *f);

DEFINE_CLEANUP(struct pagecache *, pagecache_free)

#endif
