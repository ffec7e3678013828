/*
 * A model's plaintext in a memfd. Job: own the memory, keep it out of swap, cores and child
 * processes, and seal it. Must never leave a way to change what was checked: the writable mapping
 * ends before the seals are set, and the kernel refuses to set them otherwise.
 */
#include "fs/resident/image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Newer than the headers of Debian 12. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
/* The filter of system calls allows exactly this. Linux 6.3; passthrough came with 6.9. */
#define MFD_FLAGS (MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL)
#define HUGE ((size_t)2 << 20)
#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

struct image {
	int write_fd, read_fd;
	size_t size;	       /* of both mappings: whole huge pages */
	uint8_t *write, *read; /* each at a multiple of HUGE, so that huge pages are mapped whole */
};

bool image_huge_pages(void)
{
	_cleanup_fclose_ FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "re");
	char line[128];

	return f && fgets(line, sizeof(line), f) && !strstr(line, "[never]") &&
	       !strstr(line, "[deny]");
}

/* /proc/swaps has a line of titles, and one for each place. In doubt there is one. */
static bool has_swap(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/swaps", "re");
	unsigned lines = 0;
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		lines++;
	return !f || lines > 1;
}

/* Takes address space for one huge page more, and gives the rest back. NULL. */
static uint8_t *map_aligned(int fd, size_t size, int protection)
{
	uint8_t *area = mmap(NULL, size + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before;

	if (area == MAP_FAILED)
		return NULL;
	before = (HUGE - (uintptr_t)area % HUGE) % HUGE;
	if (before > 0)
		(void)munmap(area, before);
	if (before < HUGE)
		(void)munmap(area + before + size, HUGE - before);
	area += before;
	if (mmap(area, size, protection, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
		(void)munmap(area, size);
		return NULL;
	}
	(void)madvise(area, size, MADV_HUGEPAGE);
	(void)madvise(area, size, MADV_DONTDUMP);
	(void)madvise(area, size, MADV_DONTFORK);
	return area;
}

/* A descriptor that cannot write: its mapping does not stand in the way of the seals. */
static int open_again(int fd)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Pages are locked as they are mapped. */
static int lock(struct image *i, struct error *err)
{
	if (mlock2(i->read, i->size, MLOCK_ONFAULT) == 0 || !has_swap())
		return 0;
	error_hint(err, "raise LimitMEMLOCK= of the unit or ulimit -l, or turn swap off");
	return error_set(
		err, -EPERM,
		"its plaintext could reach swap: this process may not lock so much memory");
}

static int prepare(struct image *i, uint64_t size)
{
	i->write_fd = memfd_create("sealedfs-model", MFD_FLAGS);
	if (i->write_fd < 0 || ftruncate(i->write_fd, (off_t)size) < 0)
		return -errno;
	i->read_fd = open_again(i->write_fd);
	if (i->read_fd < 0)
		return -errno;
	i->size = (size_t)((size + HUGE - 1) / HUGE * HUGE);
	i->write = map_aligned(i->write_fd, i->size, PROT_READ | PROT_WRITE);
	i->read = i->write ? map_aligned(i->read_fd, i->size, PROT_READ) : NULL;
	return i->read ? 0 : -ENOMEM;
}

int image_new(uint64_t size, struct image **ret, struct error *err)
{
	_cleanup_(image_freep) struct image *i = calloc(1, sizeof(*i));
	int r;

	if (!i)
		return -ENOMEM;
	i->write_fd = i->read_fd = -1;
	r = prepare(i, size);
	if (r < 0)
		return error_set(err, r, "cannot make a memory file: %s", strerror(-r));
	r = lock(i, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(i);
	return 0;
}

void image_free(struct image *i)
{
	if (!i)
		return;
	if (i->write)
		(void)munmap(i->write, i->size);
	if (i->read)
		(void)munmap(i->read, i->size);
	closep(&i->write_fd);
	closep(&i->read_fd);
	free(i);
}

uint8_t *image_to_fill(struct image *i, uint64_t offset)
{
	return i->write + offset;
}

void image_filled(struct image *i, uint64_t offset, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), extra = (size_t)(offset % page);
	size_t whole = (size + extra + page - 1) / page * page;

	/* Without it (Linux before 5.14) each page is mapped, and locked, when it is first read. */
	(void)madvise(i->read + (offset - extra), whole, MADV_POPULATE_READ);
}

const uint8_t *image_data(const struct image *i, uint64_t offset)
{
	return i->read + offset;
}

int image_seal(struct image *i, struct error *err)
{
	(void)munmap(steal_ptr(i->write), i->size);
	if (fcntl(i->write_fd, F_ADD_SEALS, SEALS) < 0)
		return error_set(err, -errno, "cannot seal a memory file: %s", strerror(errno));
	close(steal_fd(&i->write_fd));
	return 0;
}

int image_fd(const struct image *i)
{
	return i->read_fd;
}
