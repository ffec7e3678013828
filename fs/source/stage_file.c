/*
 * The two files of a staged object. Job: read and write them so that neither a crash nor another
 * user of the folder can do more than make a copy useless: no link is followed, nothing but our own
 * regular files with one name is opened, and an index is taken apart with bounds before memory.
 * Never sees plaintext: what it is given is what the object consists of.
 */
#include "fs/source/stage_file.h"

#include "crypto/base/cursor.h"
#include "crypto/base/encode.h"
#include "crypto/base/fileio.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

static const char magic[16] = "sealedfs stage 1";

#define FILE_NAME_SIZE (STAGE_ID_SIZE + 8)

static void file_name(const char *id, const char *suffix, char name[FILE_NAME_SIZE])
{
	(void)snprintf(name, FILE_NAME_SIZE, "%s%s", id, suffix);
}

static uint64_t round_up(uint64_t n)
{
	return (n + STAGE_BLOCK_SIZE - 1) / STAGE_BLOCK_SIZE * STAGE_BLOCK_SIZE;
}

static size_t count_extents(uint64_t size)
{
	return (size_t)((size + SEAL_EXTENT_SIZE - 1) / SEAL_EXTENT_SIZE);
}

uint64_t stage_file_overhead(uint64_t size)
{
	/* Two blocks each for what the file system needs to find a fragmented file's pieces. */
	return STAGE_HEADER_SIZE + round_up(count_extents(size) * STAGE_RECORD_SIZE) +
	       (uint64_t)4 * STAGE_BLOCK_SIZE;
}

uint64_t stage_file_chunk_bytes(const struct stage_file *f, size_t extent, uint16_t present)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < STAGE_CHUNKS; i++) {
		uint64_t offset = stage_chunk_offset(extent, i);

		if ((present >> i & 1) && offset < f->size)
			sum += MIN(round_up(f->size - offset), (uint64_t)SEAL_CHUNK_SIZE);
	}
	return sum;
}

/* Ours alone, or -EPROTO. */
static int check_own(int fd, struct stat *st)
{
	if (fstat(fd, st) < 0)
		return -errno;
	if (!S_ISREG(st->st_mode) || st->st_uid != geteuid() || st->st_nlink != 1 ||
	    (st->st_mode & 077))
		return -EPROTO;
	return 0;
}

/* A file of the pair; flags may have O_CREAT. Returns a descriptor or a negative errno. */
static int open_own(int dir_fd, const char *id, const char *suffix, int flags, struct stat *st)
{
	char name[FILE_NAME_SIZE];
	_cleanup_close_ int fd = -1;
	int r;

	file_name(id, suffix, name);
	flags |= O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	fd = openat(dir_fd, name, flags, 0600);
	/* Not every file system has O_DIRECT. */
	if (fd < 0 && errno == EINVAL && (flags & O_DIRECT))
		fd = openat(dir_fd, name, flags & ~(O_DIRECT | O_EXCL), 0600);
	if (fd < 0)
		return errno == ELOOP ? -EPROTO : -errno;
	r = check_own(fd, st);
	return r < 0 ? r : steal_fd(&fd);
}

static struct stage_file *file_new(uint64_t size)
{
	struct stage_file *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->data_fd = f->index_fd = -1;
	pthread_mutex_init(&f->record_lock, NULL);
	f->size = size;
	f->extent_count = count_extents(size);
	f->extents = calloc(f->extent_count + 1, sizeof(*f->extents));
	if (!f->extents) {
		stage_file_free(f);
		return NULL;
	}
	f->bytes = stage_file_overhead(size);
	return f;
}

void stage_file_free(struct stage_file *f)
{
	if (!f)
		return;
	closep(&f->data_fd);
	closep(&f->index_fd);
	pthread_mutex_destroy(&f->record_lock);
	free(f->extents);
	free(f->label);
	free(f);
}

void stage_file_unlink(int dir_fd, const char *id)
{
	char name[FILE_NAME_SIZE];

	file_name(id, ".index", name);
	(void)unlinkat(dir_fd, name, 0);
	file_name(id, ".data", name);
	(void)unlinkat(dir_fd, name, 0);
}

static int write_index(const struct stage_file *f)
{
	size_t size = STAGE_HEADER_SIZE + f->extent_count * STAGE_RECORD_SIZE;
	_cleanup_free_ uint8_t *index = calloc(1, size);
	size_t label_size = strlen(f->label), version_size = strlen(f->version);
	uint8_t *p = index;

	if (!index)
		return -ENOMEM;
	memcpy(p, magic, sizeof(magic));
	put_le64(p + 16, f->size);
	put_le32(p + 24, SEAL_CHUNK_SIZE);
	put_le16(p + 28, (uint16_t)label_size);
	put_le16(p + 30, (uint16_t)version_size);
	memcpy(p + 32, f->label, label_size);
	memcpy(p + 32 + label_size, f->version, version_size);
	return file_write(f->index_fd, index, size);
}

int stage_file_create(int dir_fd, const char *label, const char *version, uint64_t size,
		      struct stage_file **ret)
{
	_cleanup_(stage_file_freep) struct stage_file *f = file_new(size);
	uint8_t random[(STAGE_ID_SIZE - 1) / 2];
	struct stat st;
	int r;

	if (strlen(label) > STAGE_LABEL_MAX || strlen(version) >= SOURCE_VERSION_MAX)
		return -ENAMETOOLONG;
	if (!f || !(f->label = strdup(label)))
		return -ENOMEM;
	(void)snprintf(f->version, sizeof(f->version), "%s", version);
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	hex_encode(random, sizeof(random), f->id);
	f->index_fd = open_own(dir_fd, f->id, ".index", O_CREAT | O_EXCL, &st);
	r = f->index_fd < 0 ? f->index_fd : write_index(f);
	if (r == 0) {
		f->data_fd = open_own(dir_fd, f->id, ".data", O_CREAT | O_EXCL | O_DIRECT, &st);
		r = f->data_fd < 0 ? f->data_fd : 0;
	}
	/* Whole blocks, as direct reads need them. */
	if (r == 0 && ftruncate(f->data_fd, (off_t)round_up(size)) < 0)
		r = -errno;
	if (r < 0) {
		if (r != -EEXIST)
			stage_file_unlink(dir_fd, f->id);
		return r;
	}
	*ret = steal_ptr(f);
	return 0;
}

/* size: of the whole index file. */
static int parse_header(const uint8_t *bytes, uint64_t size, size_t extents_max,
			struct stage_file **ret)
{
	struct cursor c = cursor_init(bytes, STAGE_HEADER_SIZE);
	const uint8_t *found = cursor_take(&c, sizeof(magic)), *label, *version;
	uint64_t length = cursor_le64(&c);
	uint32_t chunk = cursor_le32(&c);
	size_t label_size = cursor_le16(&c), version_size = cursor_le16(&c);
	struct stage_file *f;

	label = cursor_take(&c, MIN(label_size, (size_t)STAGE_LABEL_MAX + 1));
	version = cursor_take(&c, version_size);
	cursor_zeros(&c, cursor_left(&c));
	if (!cursor_done(&c) || memcmp(found, magic, sizeof(magic)) != 0 ||
	    chunk != SEAL_CHUNK_SIZE || label_size > STAGE_LABEL_MAX || label_size == 0 ||
	    version_size >= SOURCE_VERSION_MAX || length > SEAL_LENGTH_MAX ||
	    count_extents(length) > extents_max ||
	    size != STAGE_HEADER_SIZE + count_extents(length) * STAGE_RECORD_SIZE)
		return -EPROTO;
	f = file_new(length);
	if (!f || !(f->label = strndup((const char *)label, label_size))) {
		stage_file_free(f);
		return -ENOMEM;
	}
	memcpy(f->version, version, version_size);
	*ret = f;
	return 0;
}

static int parse_records(struct stage_file *f, const uint8_t *bytes, size_t size,
			 uint64_t data_size)
{
	struct cursor c = cursor_init(bytes, size);

	for (size_t i = 0; i < f->extent_count; i++) {
		struct stage_extent *e = &f->extents[i];

		e->tick = cursor_le64(&c);
		e->present = cursor_le16(&c);
		cursor_zeros(&c, STAGE_RECORD_SIZE - 10);
		for (unsigned k = 0; k < STAGE_CHUNKS; k++) {
			uint64_t offset = stage_chunk_offset(i, k);
			uint64_t end = MIN(offset + SEAL_CHUNK_SIZE, f->size);

			if (!(e->present >> k & 1) || (offset < f->size && end <= data_size))
				continue;
			e->present &= (uint16_t) ~(1U << k);
			f->damaged++;
		}
		f->bytes += stage_file_chunk_bytes(f, i, e->present);
	}
	return cursor_done(&c) ? 0 : -EPROTO;
}

/* A write that was interrupted has left blocks that no record speaks of. */
static void give_back_gaps(const struct stage_file *f, const struct stat *data)
{
	if ((uint64_t)data->st_blocks * 512 <= f->bytes)
		return;
	for (size_t i = 0; i < f->extent_count; i++)
		for (unsigned k = 0; k < STAGE_CHUNKS; k++)
			if (!(f->extents[i].present >> k & 1))
				(void)stage_file_punch(f, stage_chunk_offset(i, k),
						       SEAL_CHUNK_SIZE);
}

int stage_file_load(int dir_fd, const char *id, size_t extents_max, struct stage_file **ret)
{
	_cleanup_(stage_file_freep) struct stage_file *f = NULL;
	_cleanup_free_ uint8_t *bytes = NULL;
	struct stat st = {0}, data = {0};
	_cleanup_close_ int fd = open_own(dir_fd, id, ".index", 0, &st);
	size_t size;
	int r;

	if (fd < 0)
		return fd;
	if (st.st_size < STAGE_HEADER_SIZE ||
	    (uint64_t)st.st_size > STAGE_HEADER_SIZE + (uint64_t)extents_max * STAGE_RECORD_SIZE)
		return -EPROTO;
	size = (size_t)st.st_size;
	bytes = malloc(size);
	if (!bytes)
		return -ENOMEM;
	if (file_read_at(fd, bytes, size, 0) != (ssize_t)size)
		return -EPROTO;
	r = parse_header(bytes, size, extents_max, &f);
	if (r < 0)
		return r;
	(void)snprintf(f->id, sizeof(f->id), "%s", id);
	f->index_fd = steal_fd(&fd);
	f->data_fd = open_own(dir_fd, id, ".data", O_DIRECT, &data);
	if (f->data_fd < 0)
		return f->data_fd;
	r = parse_records(f, bytes + STAGE_HEADER_SIZE, size - STAGE_HEADER_SIZE,
			  (uint64_t)data.st_size);
	/* Cut off, or made longer: chunks may be missing, but reads are of whole blocks. */
	if (r == 0 && (uint64_t)data.st_size != round_up(f->size) &&
	    ftruncate(f->data_fd, (off_t)round_up(f->size)) < 0)
		r = -errno;
	if (r < 0)
		return r;
	give_back_gaps(f, &data);
	/* Opened again when somebody asks for it. */
	close(steal_fd(&f->index_fd));
	close(steal_fd(&f->data_fd));
	*ret = steal_ptr(f);
	return 0;
}

int stage_file_open(int dir_fd, struct stage_file *f)
{
	struct stat st;

	if (f->index_fd < 0)
		f->index_fd = open_own(dir_fd, f->id, ".index", 0, &st);
	if (f->data_fd < 0)
		f->data_fd = open_own(dir_fd, f->id, ".data", O_DIRECT, &st);
	if (f->index_fd < 0 || f->data_fd < 0) {
		int r = MIN(f->index_fd, f->data_fd);

		f->index_fd = MAX(f->index_fd, -1);
		f->data_fd = MAX(f->data_fd, -1);
		return r;
	}
	return 0;
}

static bool is_aligned(uint64_t offset, size_t size, const void *buf)
{
	return (offset | size | (uintptr_t)buf) % STAGE_BLOCK_SIZE == 0;
}

/* Some file systems take O_DIRECT and want other alignments than ours. */
static bool stop_direct(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_DIRECT) && fcntl(fd, F_SETFL, flags & ~O_DIRECT) == 0;
}

static int read_blocks(const struct stage_file *f, uint64_t offset, size_t size, uint8_t *buf)
{
	ssize_t n = file_read_at(f->data_fd, buf, size, offset);

	if (n == -EINVAL && stop_direct(f->data_fd))
		n = file_read_at(f->data_fd, buf, size, offset);
	if (n < 0)
		return (int)n;
	return (size_t)n == size ? 0 : -ENODATA;
}

int stage_file_read(const struct stage_file *f, uint64_t offset, size_t size, uint8_t *buf)
{
	uint64_t start = offset / STAGE_BLOCK_SIZE * STAGE_BLOCK_SIZE;
	size_t whole = (size_t)(round_up(offset + size) - start);
	_cleanup_free_ uint8_t *bounce = NULL;
	int r;

	if (is_aligned(offset, size, buf))
		return read_blocks(f, offset, size, buf);
	bounce = aligned_alloc(STAGE_BLOCK_SIZE, whole);
	if (!bounce)
		return -ENOMEM;
	r = read_blocks(f, start, whole, bounce);
	if (r == 0)
		memcpy(buf, bounce + (offset - start), size);
	return r;
}

int stage_file_write(struct stage_file *f, uint64_t offset, size_t size, uint8_t *data)
{
	size_t whole = (size_t)round_up(size);
	int r;

	memset(data + size, 0, whole - size);
	r = file_write_at(f->data_fd, data, whole, offset);
	if (r == -EINVAL && stop_direct(f->data_fd))
		r = file_write_at(f->data_fd, data, whole, offset);
	return r;
}

int stage_file_sync(const struct stage_file *f)
{
	return fdatasync(f->data_fd) < 0 ? -errno : 0;
}

int stage_file_punch(const struct stage_file *f, uint64_t offset, uint64_t size)
{
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	return fallocate(f->data_fd, mode, (off_t)offset, (off_t)size) < 0 ? -errno : 0;
}

int stage_file_record(struct stage_file *f, size_t extent, pthread_mutex_t *lock)
{
	uint8_t record[STAGE_RECORD_SIZE] = {0};
	struct stage_extent *e = &f->extents[extent];
	int r;

	pthread_mutex_lock(&f->record_lock);
	pthread_mutex_lock(lock);
	put_le64(record, e->tick);
	put_le16(record + 8, e->present);
	e->touched = false;
	pthread_mutex_unlock(lock);
	r = file_write_at(f->index_fd, record, sizeof(record),
			  STAGE_HEADER_SIZE + extent * STAGE_RECORD_SIZE);
	pthread_mutex_unlock(&f->record_lock);
	return r;
}
