/*
 * readers.c: readers of every kind, for cases/failing.py, which compiles it.
 *
 *     readers KIND MODEL PLAIN SECONDS BYTES
 *
 * Reads the model again and again for so long, and until it had so many bytes, and compares every
 * byte that it is given with the plain file. Errors are allowed (EIO, SIGBUS) and asked about again
 * at once, as a careless program does. Not allowed: other bytes, fewer bytes than the file has,
 * another size. Prints one line of NAME=NUMBER and ends with 1 for what is not allowed.
 *
 * KIND attack: drops pages, reads one failing place a thousand times, and asks for fresh
 * attributes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PIECE ((size_t)1 << 20)
#define WINDOW ((size_t)8 << 20) /* for mlock and MAP_POPULATE */

static const char *model_path;
static const unsigned char *plain;
static off_t size;
static double end;
static unsigned long least;
static atomic_ulong bytes, errors, wrong, shorter, other_size, faults;
static atomic_int asking; /* for attributes; not all the time, so that reads are many */
static __thread sigjmp_buf bus;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int over(void)
{
	return now() >= end && bytes >= least;
}

static void on_bus(int number)
{
	(void)number;
	siglongjmp(bus, 1);
}

static void compare(const unsigned char *got, off_t at, size_t n)
{
	if (memcmp(got, plain + at, n) != 0 && wrong++ == 0)
		fprintf(stderr, "other bytes between %lld and %lld\n", (long long)at,
			(long long)(at + (off_t)n));
	bytes += n;
}

static void look_at_size(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && st.st_size != size)
		other_size++;
}

static void read_at(int fd, unsigned char *buffer, size_t want, off_t at)
{
	size_t left = (size_t)(size - at), full = want < left ? want : left;
	ssize_t n = pread(fd, buffer, want, at);

	if (n < 0) {
		errors++;
		return;
	}
	/* read(2) may stop before an error, but not give nothing. */
	if (n == 0 && full > 0)
		shorter++;
	compare(buffer, at, (size_t)n);
}

static void read_in_order(int fd, unsigned char *buffer, size_t piece)
{
	for (off_t at = 0; at < size && !over(); at += (off_t)piece)
		read_at(fd, buffer, piece, at);
}

static void read_about(int fd, unsigned char *buffer)
{
	for (int i = 0; i < 200 && !over(); i++)
		read_at(fd, buffer, 1 + (size_t)rand() % 70000, (off_t)rand() % size);
}

/* flags: MAP_POPULATE or 0; lock: mlock() what was mapped. */
static void map_window(int fd, off_t at, int flags, int lock)
{
	volatile size_t n = (size_t)(size - at) < WINDOW ? (size_t)(size - at) : WINDOW;
	unsigned char *p = mmap(NULL, n, PROT_READ, MAP_SHARED | flags, fd, at);

	if (p == MAP_FAILED) {
		errors++;
		return;
	}
	if (lock && mlock(p, n) < 0)
		errors++;
	for (volatile size_t i = 0; i < n; i += 4096) {
		if (sigsetjmp(bus, 1)) {
			faults++;
			break;
		}
		compare(p + i, at + (off_t)i, n - i < 4096 ? n - i : 4096);
	}
	munmap(p, n);
}

static void map_all(int fd, int flags, int lock)
{
	off_t at = 0;

	do {
		map_window(fd, at, flags, lock);
		at += (off_t)WINDOW;
	} while (at < size && !over());
}

static void read_ahead(int fd, unsigned char *buffer)
{
	for (off_t at = 0; at < size && !over(); at += (off_t)WINDOW) {
		if (readahead(fd, at, WINDOW) < 0)
			errors++;
		posix_fadvise(fd, at, WINDOW, POSIX_FADV_WILLNEED);
		for (off_t k = at; k < at + (off_t)WINDOW && k < size; k += (off_t)PIECE)
			read_at(fd, buffer, PIECE, k);
	}
}

static void *ask_for_attributes(void *arg)
{
	struct statx st;

	(void)arg;
	while (!over())
		if (!asking)
			usleep(50);
		else if (statx(AT_FDCWD, model_path, AT_STATX_FORCE_SYNC, STATX_SIZE, &st) == 0 &&
			 (off_t)st.stx_size != size)
			other_size++;
	return NULL;
}

/* Reads one place until it has been refused often, and looks at what comes then. */
static void attack_place(int fd, unsigned char *buffer)
{
	off_t at = (off_t)(rand() % (size / 4096)) * 4096;

	posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	for (int i = 0; i < 1100 && !over(); i++) {
		asking = i > 950;
		read_at(fd, buffer, 4096, at);
	}
	asking = 0;
}

static void once(const char *kind, int fd, unsigned char *buffer)
{
	if (strcmp(kind, "read") == 0)
		read_in_order(fd, buffer, PIECE);
	else if (strcmp(kind, "small") == 0)
		read_in_order(fd, buffer, 12288);
	else if (strcmp(kind, "direct") == 0)
		read_in_order(fd, buffer, PIECE);
	else if (strcmp(kind, "about") == 0)
		read_about(fd, buffer);
	else if (strcmp(kind, "touch") == 0)
		map_all(fd, 0, 0);
	else if (strcmp(kind, "populate") == 0)
		map_all(fd, MAP_POPULATE, 0);
	else if (strcmp(kind, "mlock") == 0)
		map_all(fd, 0, 1);
	else if (strcmp(kind, "readahead") == 0)
		read_ahead(fd, buffer);
	else if (strcmp(kind, "attack") == 0)
		attack_place(fd, buffer);
	else
		exit(2);
}

static void *work(void *kind)
{
	int direct = strcmp(kind, "direct") == 0 ? O_DIRECT : 0;
	unsigned char *buffer =
		mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd;

	do {
		fd = open(model_path, O_RDONLY | direct);
		if (fd < 0) {
			errors++;
			usleep(20000);
			continue;
		}
		once(kind, fd, buffer);
		look_at_size(fd);
		/* What was read from the cache says nothing about the source. */
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		close(fd);
	} while (!over());
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction act = {.sa_handler = on_bus, .sa_flags = SA_NODEFER};
	pthread_t threads[24];
	size_t count = 0;
	int fd, is_attack;
	struct stat st;

	if (argc != 6)
		return 2;
	is_attack = strcmp(argv[1], "attack") == 0;
	model_path = argv[2];
	end = now() + atof(argv[4]);
	least = strtoul(argv[5], NULL, 10);
	srand((unsigned)getpid());
	sigaction(SIGBUS, &act, NULL);
	fd = open(argv[3], O_RDONLY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return 2;
	size = st.st_size;
	plain = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (plain == MAP_FAILED)
		return 2;
	while (is_attack && count < 20)
		if (pthread_create(&threads[count++], NULL, ask_for_attributes, NULL) != 0)
			return 2;
	while (is_attack && count < 21)
		if (pthread_create(&threads[count++], NULL, work, argv[1]) != 0)
			return 2;
	if (!is_attack)
		work(argv[1]);
	while (count > 0)
		pthread_join(threads[--count], NULL);
	printf("bytes=%lu errors=%lu faults=%lu wrong=%lu short=%lu size=%lu\n", bytes, errors,
	       faults, wrong, shorter, other_size);
	return wrong || shorter || other_size ? 1 : 0;
}
