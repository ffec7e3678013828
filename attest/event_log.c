/*
 * The measurement log's file. Job: read it whole, and append so that the state is clear even if the
 * writer dies at any point. Trusts root and its own user, and checks that nobody else could have
 * written the file. Must never append a record that was not announced, nor repair anything but an
 * announced record.
 */
#include "attest/event_log.h"

#include "attest/runtime_dir.h"
#include "crypto/base/fileio.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define LOCK_DEADLINE_MS 60000
#define MODE_IDLE 0600
#define MODE_WRITING (0600 | S_ISVTX)

struct event_log {
	char *path, *intent_path, *intent_new_path;
	int fd;
	bool sticky;
	char boot_id[EVENT_BOOT_ID_SIZE];
	uint8_t *bytes;
	size_t size;	  /* of the file */
	size_t good_size; /* up to the end of the last whole record */
	size_t last_at;	  /* where that record begins */
	struct event_record *records;
	size_t record_count, record_room;
	uint8_t *intent_bytes; /* announced record, framed; NULL: none */
	size_t intent_size;
	struct event_record intent;
};

/* Nobody but root and this user may have written it, under this or any other name. */
static int check_ownership(int fd, const char *path, struct stat *ret, struct error *err)
{
	if (fstat(fd, ret) < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(ret->st_mode) || ret->st_nlink != 1 ||
	    (ret->st_uid != 0 && ret->st_uid != geteuid()) ||
	    (ret->st_mode & (S_IWGRP | S_IWOTH))) {
		error_set(err, -EPERM, "%s is not a plain file that only its owner can write",
			  path);
		error_hint(err, "find out who created it; models are not served without this log");
		return -EPERM;
	}
	return 0;
}

static int open_file(struct event_log *l, struct error *err)
{
	struct stat st;
	int r = runtime_parent_make(l->path, err);

	if (r < 0)
		return r;
	l->fd = open(l->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY,
		     MODE_IDLE);
	if (l->fd < 0) {
		r = -errno;
		if (r == -EACCES)
			error_hint(err, "another user made it, root before the user sealedfs was "
					"there, say: unmount that, then chown it and its folder");
		return error_set(err, r, "cannot open the measurement log %s: %s", l->path,
				 strerror(-r));
	}
	r = file_lock(l->fd, false, LOCK_DEADLINE_MS);
	if (r < 0)
		return error_set(err, r, "cannot lock the measurement log %s: %s", l->path,
				 strerror(-r));
	r = check_ownership(l->fd, l->path, &st, err);
	if (r < 0)
		return r;
	l->sticky = st.st_mode & S_ISVTX;
	r = file_load(l->fd, EVENT_LOG_SIZE_MAX, &l->bytes, &l->size);
	if (r < 0)
		return error_set(err, r, "cannot read the measurement log %s: %s", l->path,
				 strerror(-r));
	return 0;
}

static int keep_record(struct event_log *l, const struct event_record *record)
{
	if (l->record_count == l->record_room) {
		size_t room = l->record_room ? 2 * l->record_room : 16;
		struct event_record *grown = reallocarray(l->records, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		l->records = grown;
		l->record_room = room;
	}
	l->records[l->record_count++] = *record;
	return 0;
}

static int damaged(const struct event_log *l, const char *what, struct error *err)
{
	error_set(err, -EPROTO, "the measurement log %s is damaged: %s at byte %zu", l->path, what,
		  l->good_size);
	error_hint(err, "what was measured since boot cannot be determined: keep a copy of the "
			"file, and reboot");
	return -EPROTO;
}

static int parse(struct event_log *l, struct error *err)
{
	while (l->good_size < l->size) {
		struct event_record record;
		size_t length;
		int r = event_record_decode(l->bytes + l->good_size, l->size - l->good_size,
					    &record, &length);

		if (r == -ENODATA) {
			/* The record of a writer that died: recovery completes it, else it is
			 * damage. */
			size_t tail = l->size - l->good_size;

			if (tail < l->intent_size &&
			    memcmp(l->bytes + l->good_size, l->intent_bytes, tail) == 0)
				return 0;
			return damaged(l, "the last record is cut short", err);
		}
		if (r < 0)
			return damaged(l, "a malformed record", err);
		if (r > 0 &&
		    (record.kind == EVENT_OTHER || strcmp(record.boot_id, l->boot_id) == 0)) {
			r = keep_record(l, &record);
			if (r < 0)
				return error_set(err, r, "out of memory");
		}
		l->last_at = l->good_size;
		l->good_size += length;
	}
	return 0;
}

static int read_intent(struct event_log *l, struct error *err)
{
	_cleanup_close_ int fd = open(l->intent_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
	struct stat st;
	size_t length = 0;
	int r;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0) {
		r = -errno;
		return error_set(err, r, "%s: %s", l->intent_path, strerror(-r));
	}
	r = check_ownership(fd, l->intent_path, &st, err);
	if (r < 0)
		return r;
	r = file_load(fd, EVENT_RECORD_MAX, &l->intent_bytes, &l->intent_size);
	if (r < 0)
		return error_set(err, r, "%s: %s", l->intent_path, strerror(-r));
	if (event_record_decode(l->intent_bytes, l->intent_size, &l->intent, &length) != 1 ||
	    length != l->intent_size || l->intent.kind == EVENT_OTHER)
		return error_set(err, -EPROTO, "%s is damaged", l->intent_path);
	return 0;
}

int event_log_open(const char *path, struct event_log **ret, struct error *err)
{
	_cleanup_event_log_ struct event_log *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return error_set(err, -ENOMEM, "out of memory");
	l->fd = -1;
	l->path = strdup(path);
	if (!l->path || asprintf(&l->intent_path, "%s.intent", path) < 0 ||
	    asprintf(&l->intent_new_path, "%s.intent.new", path) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	r = event_boot_id(l->boot_id, err);
	if (r < 0)
		return r;
	r = open_file(l, err);
	if (r < 0)
		return r;
	r = read_intent(l, err);
	if (r < 0)
		return r;
	r = parse(l, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(l);
	return 0;
}

void event_log_free(struct event_log *l)
{
	if (!l)
		return;
	if (l->fd >= 0)
		close(l->fd);
	free(l->path);
	free(l->intent_path);
	free(l->intent_new_path);
	free(l->bytes);
	free(l->records);
	free(l->intent_bytes);
	free(l);
}

const struct event_record *event_log_intent(const struct event_log *l)
{
	return l->intent_bytes ? &l->intent : NULL;
}

bool event_log_interrupted(const struct event_log *l)
{
	return l->sticky || l->intent_bytes;
}

bool event_log_intent_is_logged(const struct event_log *l)
{
	return l->intent_bytes && l->good_size == l->size &&
	       l->good_size - l->last_at == l->intent_size &&
	       memcmp(l->bytes + l->last_at, l->intent_bytes, l->intent_size) == 0;
}

/*
 * A record states the value that it starts from if the PCR did not have the value to which the
 * records before it lead: after a reset, or after an extension by another program. The records in
 * front of it then no longer explain the PCR.
 */
static size_t chain_start(const struct event_log *l, unsigned pcr)
{
	size_t first = 0;

	for (size_t n = 0; n < l->record_count; n++)
		if (l->records[n].digests.pcr == pcr && l->records[n].has_before)
			first = n;
	return first;
}

static void set_zero(struct pcr_values *v)
{
	for (size_t n = 0; n < v->bank_count; n++)
		memset(v->banks[n].value, 0, sizeof(v->banks[n].value));
}

int event_log_replay(const struct event_log *l, struct pcr_values *value, bool *ret_known,
		     struct error *err)
{
	bool known = false;

	set_zero(value);
	for (size_t n = chain_start(l, value->pcr); n < l->record_count; n++) {
		const struct event_record *record = &l->records[n];
		int r;

		if (record->digests.pcr != value->pcr)
			continue;
		if (record->has_before)
			event_record_start(record, value);
		r = event_record_apply(record, value);
		if (r < 0)
			return error_set(err, r,
					 "the measurement log %s lacks a bank of PCR %u that the "
					 "TPM has",
					 l->path, value->pcr);
		known = true;
	}
	*ret_known = known;
	return 0;
}

bool event_log_has(const struct event_log *l, enum event_kind kind, enum measure_mode mode,
		   const struct pcr_values *digests)
{
	for (size_t n = chain_start(l, digests->pcr); n < l->record_count; n++) {
		const struct event_record *record = &l->records[n];

		if (record->kind == kind && (kind != EVENT_MODEL || record->mode == mode) &&
		    pcr_values_equal(&record->digests, digests))
			return true;
	}
	return false;
}

static int set_mode(struct event_log *l, mode_t mode, struct error *err)
{
	if (fchmod(l->fd, mode) < 0)
		return error_set(err, -errno, "%s: %s", l->path, strerror(errno));
	l->sticky = mode & S_ISVTX;
	return 0;
}

static void drop_intent(struct event_log *l)
{
	free(steal_ptr(l->intent_bytes));
	l->intent_size = 0;
}

int event_log_begin(struct event_log *l, const uint8_t *record, size_t size, struct error *err)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (l->good_size + size > EVENT_LOG_SIZE_MAX)
		return error_set(err, -EFBIG, "the measurement log %s is full", l->path);
	drop_intent(l);
	l->intent_bytes = malloc(size);
	if (!l->intent_bytes)
		return error_set(err, -ENOMEM, "out of memory");
	memcpy(l->intent_bytes, record, size);
	l->intent_size = size;

	(void)unlink(l->intent_new_path);
	fd = open(l->intent_new_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	r = fd < 0 ? -errno : file_write(fd, record, size);
	if (r == 0 && (fsync(fd) < 0 || rename(l->intent_new_path, l->intent_path) < 0))
		r = -errno;
	if (r < 0)
		return error_set(err, r, "cannot write %s: %s", l->intent_path, strerror(-r));
	return set_mode(l, MODE_WRITING, err);
}

/* Cuts off the incomplete record of a writer that died. */
static int trim(struct event_log *l, struct error *err)
{
	if (l->size == l->good_size)
		return 0;
	if (ftruncate(l->fd, (off_t)l->good_size) < 0)
		return error_set(err, -errno, "%s: %s", l->path, strerror(errno));
	l->size = l->good_size;
	return 0;
}

static int finish(struct event_log *l, struct error *err)
{
	int r = set_mode(l, MODE_IDLE, err);

	if (r < 0)
		return r;
	if (unlink(l->intent_path) < 0 && errno != ENOENT)
		return error_set(err, -errno, "%s: %s", l->intent_path, strerror(errno));
	drop_intent(l);
	return 0;
}

int event_log_commit(struct event_log *l, struct error *err)
{
	struct event_record record;
	size_t length;
	int r = trim(l, err);

	if (r < 0)
		return r;
	if (!l->intent_bytes ||
	    event_record_decode(l->intent_bytes, l->intent_size, &record, &length) != 1)
		return error_set(err, -EINVAL, "no record was announced");
	r = file_write(l->fd, l->intent_bytes, l->intent_size);
	if (r == 0 && fsync(l->fd) < 0)
		r = -errno;
	if (r < 0)
		return error_set(err, r, "cannot write the measurement log %s: %s", l->path,
				 strerror(-r));
	l->last_at = l->good_size;
	l->good_size += l->intent_size;
	l->size = l->good_size;
	r = keep_record(l, &record);
	if (r < 0)
		return error_set(err, r, "out of memory");
	return finish(l, err);
}

int event_log_abandon(struct event_log *l, struct error *err)
{
	int r = trim(l, err);

	return r < 0 ? r : finish(l, err);
}

int event_log_replay_foreign(const char *path, struct pcr_values *value)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t size = 0, at = 0;
	bool known = false;
	int r;

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_SH | LOCK_NB) < 0)
		return -errno;
	r = file_load(fd, EVENT_LOG_SIZE_MAX, &bytes, &size);
	if (r < 0)
		return r;
	set_zero(value);
	while (at < size) {
		struct event_record record;
		size_t length = 0;

		r = event_record_decode(bytes + at, size - at, &record, &length);
		if (r < 0)
			return r;
		at += length;
		if (r == 0 || record.digests.pcr != value->pcr)
			continue;
		r = event_record_apply_named(&record, value);
		if (r < 0)
			return r;
		known = true;
	}
	return known ? 0 : -ENOENT;
}
