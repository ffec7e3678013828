/*
 * reader: the work that the benchmark times, done as a real reader would do it: into a buffer that
 * is used again and again, or by mapping the file and unmapping it.
 *
 *   reader read [--block BYTES] [--threads N] [--whole] [--direct] FILE
 *   reader mmap FILE            map with MAP_POPULATE, unmap
 *   reader random [--count N] [--seed N] FILE
 *   reader first FILE           open, the first and the last 4 KiB: what a model's first open is
 *   reader compare FILE OTHER   exit code 1 and the offset when they differ
 *
 * Prints one line of JSON. "seconds" starts after open(2), which stands by itself in
 * "open_seconds". Trusts its command line; must never count time or bytes of a failed read.
 */
#include "crypto/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#define PAGE_BYTES 4096
#define THREADS_MAX 64
#define BLOCK_MAX ((size_t)1 << 30)

struct job {
	const char *path;
	size_t block_bytes;
	unsigned threads;
	bool whole; /* each thread reads all of the file, not its own part */
	bool direct;
	uint64_t count, seed;
	uint64_t size;
};

struct part {
	const struct job *job;
	pthread_barrier_t *start;
	uint64_t from, to;
	uint64_t bytes;
	int code;
};

struct outcome {
	double open_s, seconds;
	uint64_t bytes, operations;
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int open_file(const struct job *j)
{
	int fd = open(j->path, O_RDONLY | O_CLOEXEC | (j->direct ? O_DIRECT : 0));

	return fd < 0 ? -errno : fd;
}

static int read_range(int fd, void *buf, size_t block, uint64_t from, uint64_t to, uint64_t *ret)
{
	while (from < to) {
		ssize_t n = pread(fd, buf, block, (off_t)from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		from += (uint64_t)n;
		*ret += (uint64_t)n;
	}
	return 0;
}

static void *read_part(void *arg)
{
	struct part *p = arg;
	_cleanup_(closep) int fd = open_file(p->job);
	_cleanup_(freep) void *buf = NULL;

	if (fd < 0)
		p->code = fd;
	else
		p->code = -posix_memalign(&buf, PAGE_BYTES, p->job->block_bytes);
	if (buf)
		memset(buf, 1, p->job->block_bytes);
	pthread_barrier_wait(p->start);
	if (p->code == 0)
		p->code = read_range(fd, buf, p->job->block_bytes, p->from, p->to, &p->bytes);
	return NULL;
}

static int work_read(struct job *j, struct outcome *ret)
{
	struct part parts[THREADS_MAX];
	pthread_t threads[THREADS_MAX];
	pthread_barrier_t start;
	uint64_t share = (j->size / j->threads + j->block_bytes) / j->block_bytes * j->block_bytes;
	double began;
	int r = 0;

	pthread_barrier_init(&start, NULL, j->threads + 1);
	for (unsigned i = 0; i < j->threads; i++) {
		parts[i] = (struct part){.job = j, .start = &start, .to = j->size};
		if (!j->whole) {
			parts[i].from = MIN(i * share, j->size);
			parts[i].to = MIN((i + 1) * share, j->size);
		}
		if (pthread_create(&threads[i], NULL, read_part, &parts[i]) != 0)
			abort();
	}
	pthread_barrier_wait(&start);
	began = now_s();
	for (unsigned i = 0; i < j->threads; i++) {
		pthread_join(threads[i], NULL);
		ret->bytes += parts[i].bytes;
		if (parts[i].code < 0)
			r = parts[i].code;
	}
	ret->seconds = now_s() - began;
	pthread_barrier_destroy(&start);
	return r;
}

static int work_mmap(struct job *j, struct outcome *ret)
{
	_cleanup_(closep) int fd = open_file(j);
	double began = now_s();
	void *map;

	if (fd < 0)
		return fd;
	map = mmap(NULL, j->size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	munmap(map, j->size);
	ret->seconds = now_s() - began;
	ret->bytes = j->size;
	return 0;
}

/* Which pages: a bijection of 64-bit numbers (splitmix64), so that a seed gives the same ones. */
static uint64_t scatter(uint64_t v)
{
	v += 0x9e3779b97f4a7c15;
	v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9;
	v = (v ^ (v >> 27)) * 0x94d049bb133111eb;
	return v ^ (v >> 31);
}

static int work_random(struct job *j, struct outcome *ret)
{
	_cleanup_(closep) int fd = open_file(j);
	char buf[PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));
	uint64_t pages = j->size / PAGE_BYTES;
	double began = now_s();

	if (fd < 0 || pages == 0)
		return fd < 0 ? fd : -EINVAL;
	for (uint64_t i = 0; i < j->count; i++) {
		uint64_t page = scatter(j->seed * 1000003 + i) % pages;

		if (pread(fd, buf, sizeof(buf), (off_t)(page * PAGE_BYTES)) != sizeof(buf))
			return -EIO;
	}
	ret->seconds = now_s() - began;
	ret->operations = j->count;
	ret->bytes = j->count * PAGE_BYTES;
	return 0;
}

static int work_first(struct job *j, struct outcome *ret)
{
	double began = now_s();
	_cleanup_(closep) int fd = open_file(j);
	uint64_t tail = j->size > 0 ? (j->size - 1) / PAGE_BYTES * PAGE_BYTES : 0;
	char buf[PAGE_BYTES];
	int r;

	if (fd < 0)
		return fd;
	r = read_range(fd, buf, sizeof(buf), 0, MIN(j->size, sizeof(buf)), &ret->bytes);
	if (r == 0)
		r = read_range(fd, buf, sizeof(buf), tail, j->size, &ret->bytes);
	ret->seconds = now_s() - began;
	return r;
}

static int compare(const struct job *j, const char *other)
{
	_cleanup_(closep) int a = open_file(j), b = open(other, O_RDONLY | O_CLOEXEC);
	_cleanup_(freep) char *x = malloc(j->block_bytes), *y = malloc(j->block_bytes);
	uint64_t at = 0;
	ssize_t n, m;

	if (a < 0 || b < 0 || !x || !y)
		return -EIO;
	while ((n = pread(a, x, j->block_bytes, (off_t)at)) > 0) {
		m = pread(b, y, (size_t)n, (off_t)at);
		if (m <= 0)
			break;
		n = MIN(n, m);
		if (memcmp(x, y, (size_t)n) != 0)
			break;
		at += (uint64_t)n;
	}
	if (n != 0 || pread(b, y, 1, (off_t)at) != 0) {
		fprintf(stderr, "%s and %s differ in the block at %" PRIu64 "\n", j->path, other,
			at);
		return -EBADMSG;
	}
	printf("{\"equal\": %" PRIu64 "}\n", at);
	return 0;
}

static const struct {
	const char *name;
	int (*work)(struct job *j, struct outcome *ret);
} works[] = {
	{"read", work_read},
	{"mmap", work_mmap},
	{"random", work_random},
	{"first", work_first},
};

static int run(struct job *j, const char *name)
{
	struct outcome o = {0};
	struct rusage before, after;
	double began = now_s();
	int r;

	for (size_t i = 0; i < ARRAY_LEN(works); i++) {
		if (strcmp(works[i].name, name) != 0)
			continue;
		if (works[i].work != work_first) { /* unlocking is not part of reading */
			_cleanup_(closep) int fd = open_file(j);

			o.open_s = now_s() - began;
			if (fd < 0)
				return fd;
		}
		getrusage(RUSAGE_SELF, &before);
		r = works[i].work(j, &o);
		getrusage(RUSAGE_SELF, &after);
		if (r < 0)
			return r;
		printf("{\"open_seconds\": %.6f, \"seconds\": %.6f, \"bytes\": %" PRIu64
		       ", \"operations\": %" PRIu64 ", \"cpu_seconds\": %.3f}\n",
		       o.open_s, o.seconds, o.bytes, o.operations,
		       (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec +
				after.ru_stime.tv_sec - before.ru_stime.tv_sec) +
			       (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec +
					after.ru_stime.tv_usec - before.ru_stime.tv_usec) /
				       1e6);
		return 0;
	}
	return -EINVAL;
}

static bool parse_number(const char *text, uint64_t max, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	return errno == 0 && end != text && !*end && *ret <= max;
}

static bool parse(int argc, char **argv, struct job *j)
{
	static const struct option longs[] = {{"block", required_argument, NULL, 'b'},
					      {"threads", required_argument, NULL, 't'},
					      {"count", required_argument, NULL, 'n'},
					      {"seed", required_argument, NULL, 's'},
					      {"whole", no_argument, NULL, 'w'},
					      {"direct", no_argument, NULL, 'd'},
					      {0}};
	uint64_t v = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		bool good = true;

		if (c == 'w') {
			j->whole = true;
		} else if (c == 'd') {
			j->direct = true;
		} else if (c == 'b') {
			good = parse_number(optarg, BLOCK_MAX, &v) && v > 0;
			j->block_bytes = (size_t)v;
		} else if (c == 't') {
			good = parse_number(optarg, THREADS_MAX, &v) && v > 0;
			j->threads = (unsigned)v;
		} else if (c == 'n') {
			good = parse_number(optarg, UINT32_MAX, &j->count);
		} else if (c == 's') {
			good = parse_number(optarg, UINT32_MAX, &j->seed);
		} else {
			good = false;
		}
		if (!good)
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct job j = {.block_bytes = 1 << 20, .threads = 1, .count = 8192, .seed = 1};
	struct stat st;
	bool comparing;
	int r;

	if (!parse(argc, argv, &j) || argc - optind < 2) {
		fputs("usage: reader read|mmap|random|first|compare [OPTION…] FILE [OTHER]\n",
		      stderr);
		return 2;
	}
	comparing = strcmp(argv[optind], "compare") == 0 && argc - optind == 3;
	j.path = argv[optind + 1];
	r = stat(j.path, &st) < 0 ? -errno : 0;
	j.size = r == 0 ? (uint64_t)st.st_size : 0;
	if (r == 0)
		r = comparing ? compare(&j, argv[optind + 2]) : run(&j, argv[optind]);
	if (r < 0) {
		fprintf(stderr, "reader: %s %s: %s\n", argv[optind], j.path, strerror(-r));
		return 1;
	}
	return 0;
}
