/*
 * Findings: plaintext copies of sealed models on local disks, by digest. Only files as long as a
 * model are read. What the seals state is believed unsigned: a wrong statement hides a copy from
 * this search, and does no more.
 */
#include "crypto/base/digest.h"
#include "crypto/seal.h"
#include "tools/common/interrupt.h"
#include "tools/doctor/doctor.h"
#include "tools/inspect/predict.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE ((size_t)1 << 20)
#define FOLDERS_OPEN 32

/* nftw() passes no argument. */
static struct search {
	struct doctor *d;
	const struct prediction *models;
	uint64_t files, read;
} * search;

static int digest_of(const char *path, uint8_t out[DIGEST_SIZE_MAX])
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	_cleanup_digest_ struct digest *digest = NULL;
	_cleanup_free_ uint8_t *data = malloc(READ_SIZE);
	ssize_t n = 1;
	int r = fd < 0 ? -errno : digest_new(DIGEST_SHA256, &digest);

	if (!data)
		return -ENOMEM;
	while (r == 0 && n > 0) {
		n = read(fd, data, READ_SIZE);
		r = n < 0 ? -errno : interrupt_check(NULL);
		if (r == 0 && n > 0)
			r = digest_update(digest, data, (size_t)n);
	}
	explicit_bzero(data, READ_SIZE);
	return r < 0 ? r : digest_final(digest, out);
}

static int look_file(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	uint8_t digest[DIGEST_SIZE_MAX];
	bool known = false;
	int r;

	if (kind == FTW_DNR)
		doctor_skip(search->d, "copies below %s: it cannot be read", path);
	if (kind != FTW_F || !S_ISREG(st->st_mode))
		return 0;
	search->files++;
	for (size_t i = 0; i < search->models->count; i++) {
		const struct predicted_model *m = &search->models->models[i];

		if (st->st_size <= 0 || (uint64_t)st->st_size != seal_core(m->seal)->length)
			continue;
		r = known ? 0 : digest_of(path, digest);
		if (r == -EINTR || r == -ECANCELED)
			return r;
		if (r < 0) {
			doctor_skip(search->d, "%s: %s", path, strerror(-r));
			return 0;
		}
		search->read += !known;
		known = true;
		if (memcmp(digest, m->digests.sha256, sizeof(m->digests.sha256)) == 0)
			doctor_find(search->d, FINDING_PLAINTEXT_COPY,
				    "%s is the plaintext of \"%s\"", path, m->path);
	}
	return 0;
}

static int walk(struct doctor *d, const struct prediction *models, struct error *err)
{
	struct search s = {.d = d, .models = models};
	int r = 0;

	search = &s;
	for (size_t i = 0; r == 0 && i < d->search_count; i++) {
		/* Not into other file systems: a mount shows plaintexts because it should. */
		r = nftw(d->search[i], look_file, FOLDERS_OPEN, FTW_PHYS | FTW_MOUNT);
		if (r == -1)
			r = error_set(err, -errno, "cannot look through %s: %s", d->search[i],
				      strerror(errno));
	}
	doctor_note(d, "%llu files were compared with %zu models; %llu had to be read",
		    (unsigned long long)s.files, models->count, (unsigned long long)s.read);
	return r;
}

int doctor_look_copies(struct doctor *d, struct error *err)
{
	_cleanup_(owner_keys_freep) struct owner_keys *nobody = NULL;
	_cleanup_prediction_ struct prediction models = {.keep_seals = true, .without_set = true};
	_cleanup_target_ struct target place = {0};
	struct error why = {0};
	struct aws *aws;
	int r;

	if (d->search_count == 0)
		return 0;
	r = owner_keys_new(&nobody);
	models.facts.owners = nobody;
	if (r == 0 && source_spec_is_s3(d->config.source))
		r = doctor_open_aws(d, &aws, &why);
	if (r == 0)
		r = target_open(d->cli, d->config.source, &place, &why);
	if (r == 0)
		r = predict_add_target(&models, d->config.source, &place, &why);
	if (r < 0) {
		doctor_skip(d, "copies of the models of %s: %s", d->config.source,
			    error_text(&why, r));
		return r == -EINTR || r == -ECANCELED ? r : 0;
	}
	return walk(d, &models, err);
}
