/*
 * ballast: holds free memory that the hypervisor still backs, and lets it go as others need it. A
 * virtual machine with free page reporting loses its free pages to the host within a second or two,
 * and the first touch of such a page then costs up to ten times the work that is being measured.
 *
 *   ballast KEEP_MIB MAX_MIB   holds up to MAX_MIB; says "ready" after each line on standard input,
 * once that is taken and KEEP_MIB of it let go; ends with standard input
 *
 * The kernel hands out first what was freed last, so what is let go is what the next reader gets.
 * Trusts the kernel's count of free memory. Must never be what drives the machine out of memory: it
 * gives way before anybody has to wait, in steps far smaller than what it leaves free.
 */
#include "crypto/base/cleanup.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

#define PIECE_BYTES ((size_t)64 << 20)
#define POLL_MS 2

struct ballast {
	uint8_t *pieces;
	size_t count, held;   /* pieces of the mapping; the first `held` are touched */
	uint64_t keep_bytes;  /* let go ahead of need */
	uint64_t level_bytes; /* free memory to defend */
};

static uint64_t free_bytes(void)
{
	struct sysinfo info;

	return sysinfo(&info) < 0 ? 0 : (uint64_t)info.freeram * info.mem_unit;
}

static void let_go_one(struct ballast *b)
{
	b->held--;
	(void)madvise(b->pieces + b->held * PIECE_BYTES, PIECE_BYTES, MADV_DONTNEED);
}

static void take(struct ballast *b)
{
	while (b->held < b->count && free_bytes() > b->keep_bytes + PIECE_BYTES) {
		uint8_t *piece = b->pieces + b->held * PIECE_BYTES;

		for (size_t at = 0; at < PIECE_BYTES; at += 4096)
			piece[at] = 1;
		b->held++;
	}
	if (b->held < b->count) { /* there is no free memory but what is kept free */
		b->level_bytes = b->keep_bytes;
		return;
	}
	b->level_bytes = free_bytes() + b->keep_bytes;
	for (size_t i = 0; i < b->keep_bytes / PIECE_BYTES && b->held > 0; i++)
		let_go_one(b);
}

static void give_way(struct ballast *b)
{
	while (b->held > 0 && free_bytes() + PIECE_BYTES < b->level_bytes)
		let_go_one(b);
}

static bool parse_mib(const char *text, uint64_t *ret)
{
	char *end;
	unsigned long mib = strtoul(text, &end, 10);

	*ret = (uint64_t)mib << 20;
	return end != text && !*end && mib >= 256 && mib <= 1UL << 20;
}

static bool prepare(struct ballast *b, char **argv)
{
	uint64_t max;

	if (!parse_mib(argv[1], &b->keep_bytes) || !parse_mib(argv[2], &max))
		return false;
	b->count = (size_t)(max / PIECE_BYTES);
	b->pieces = mmap(NULL, b->count * PIECE_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (b->pieces == MAP_FAILED)
		return false;
	(void)madvise(b->pieces, b->count * PIECE_BYTES, MADV_HUGEPAGE);
	return true;
}

/* Who needs memory at once must find us, and not the reader, to be the one that is killed. */
static void volunteer(void)
{
	FILE *score = fopen("/proc/self/oom_score_adj", "we");

	if (!score)
		return;
	(void)fputs("1000", score);
	(void)fclose(score);
}

int main(int argc, char **argv)
{
	struct ballast b = {0};
	struct pollfd in = {.fd = 0, .events = POLLIN};
	char asked[64];

	if (argc != 3 || !prepare(&b, argv)) {
		fputs("usage: ballast KEEP_MIB MAX_MIB (256 or more)\n", stderr);
		return 2;
	}
	volunteer();
	for (;;) {
		int n = poll(&in, 1, POLL_MS);

		if (n < 0 && errno != EINTR)
			return 1;
		give_way(&b);
		if (n <= 0)
			continue;
		if (read(0, asked, sizeof(asked)) <= 0)
			return 0;
		take(&b);
		puts("ready");
		(void)fflush(stdout);
	}
}
