/*
 * Filling the page cache. Job: several windows of the file at a time, populated into a mapping: the
 * pages come into the cache and no byte is copied further. Measured on two cores, 1 GB from a local
 * directory, GB/s, medians of three: read() 1.75 by one thread, 1.85 by two and 1.72 by four;
 * POSIX_FADV_WILLNEED with read() 1.63; MADV_POPULATE_READ in windows of 8 MiB 1.87 by one thread,
 * 2.30 by two, 2.54 by four; in windows of 64 MiB 1.83 and 2.01.
 */
#include "tools/mount/warm.h"

#include "crypto/base/clock.h"
#include "crypto/base/pool.h"
#include "tools/common/interrupt.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define WINDOW ((uint64_t)8 << 20) /* one extent: the size of one S3 request */
#define THREADS_MIN 4U
#define THREADS_MAX 16U
#define LOOK_MS 50
#define READ_SIZE ((size_t)1 << 20)
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

struct warming {
	int fd;
	uint64_t size;
	atomic_uint_least64_t next; /* offset of the next window */
	atomic_uint_least64_t done; /* bytes */
	atomic_int code;	    /* the first failure */

	pthread_mutex_t lock; /* guards `running` */
	pthread_cond_t changed;
	unsigned running;
};

/* Also finds the errno of a window that could not be populated. */
static int read_window(int fd, uint64_t offset, size_t size)
{
	_cleanup_free_ uint8_t *buf = malloc(READ_SIZE);

	if (!buf)
		return -ENOMEM;
	while (size > 0) {
		ssize_t n = pread(fd, buf, MIN(size, READ_SIZE), (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

static int fill_window(int fd, uint64_t offset, size_t size)
{
	void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, (off_t)offset);
	int r;

	if (map == MAP_FAILED)
		return read_window(fd, offset, size);
	r = madvise(map, size, MADV_POPULATE_READ);
	(void)munmap(map, size);
	return r == 0 ? 0 : read_window(fd, offset, size);
}

static void *run(void *arg)
{
	struct warming *w = arg;

	while (atomic_load(&w->code) == 0) {
		uint64_t at = atomic_fetch_add(&w->next, WINDOW);
		int none = 0, r;
		size_t n;

		if (at >= w->size)
			break;
		n = (size_t)MIN(w->size - at, WINDOW);
		r = fill_window(w->fd, at, n);
		if (r < 0)
			atomic_compare_exchange_strong(&w->code, &none, r);
		else
			atomic_fetch_add(&w->done, n);
	}
	pthread_mutex_lock(&w->lock);
	w->running--;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static void start_threads(struct warming *w)
{
	uint64_t windows = (w->size + WINDOW - 1) / WINDOW;
	unsigned count = MIN(MAX(2 * cpu_count(), THREADS_MIN), THREADS_MAX);
	pthread_attr_t detached;

	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	for (unsigned i = 0; i < MIN((uint64_t)count, windows); i++) {
		pthread_t thread;

		pthread_mutex_lock(&w->lock);
		w->running++;
		if (pthread_create(&thread, &detached, run, w) != 0)
			w->running--;
		pthread_mutex_unlock(&w->lock);
	}
	pthread_attr_destroy(&detached);
}

/* False: interrupted, and threads may still wait for a read. */
static bool wait_for_end(struct warming *w, struct progress *progress)
{
	uint64_t shown = 0, done;
	bool over = false;

	pthread_mutex_lock(&w->lock);
	while (!(over = w->running == 0) && interrupt_check(NULL) == 0) {
		(void)monotonic_cond_wait(&w->changed, &w->lock, monotonic_ms() + LOOK_MS);
		done = atomic_load(&w->done);
		progress_add(progress, done - shown);
		shown = done;
	}
	pthread_mutex_unlock(&w->lock);
	return over;
}

int warm_file(int fd, uint64_t size, struct progress *progress)
{
	struct warming *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->fd = fd;
	w->size = size;
	pthread_mutex_init(&w->lock, NULL);
	monotonic_cond_init(&w->changed);
	start_threads(w);
	/* The threads still use it: a read that waits for the network cannot be cancelled. The
	 * process ends soon. */
	if (!wait_for_end(w, progress))
		return -EINTR;
	r = atomic_load(&w->code);
	if (r == 0 && atomic_load(&w->next) < size)
		r = -ENOMEM; /* no thread could be started */
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	free(w);
	return r;
}
