/*
 * What follows from the options together. Job: complete a struct config whose options were parsed
 * one by one, or report which of them exclude each other. Must never start what could not be
 * checked or measured as the options say.
 */
#include "fs/config/options_internal.h"

#include "attest/tpm.h"
#include "crypto/base/encode.h"
#include "crypto/base/log.h"
#include "crypto/set.h"
#include "fs/config/file.h"
#include "fs/source/source.h"

#include <errno.h>
#include <grp.h>
#include <string.h>

#define SERVICE_GROUP "sealedfs" /* of systemd/sealedfs.sysusers */

static int check_consistency(const struct config *c, struct error *err)
{
	int r = source_check_spec(c->source, err);

	if (r == 0 && c->mountpoint &&
	    strncmp(c->mountpoint, "/dev/fd/", strlen("/dev/fd/")) == 0) {
		error_hint(err, "let sealedfs mount, with CAP_SYS_ADMIN or by fusermount3");
		r = error_set(err, -EINVAL,
			      "mount point %s: a FUSE connection that another program has "
			      "mounted is refused: its mount options are unknown",
			      c->mountpoint);
	}
	if (r < 0)
		return r;
	if (c->allow_other && c->allow_root)
		return error_set(err, -EINVAL,
				 "options allow_other and allow_root exclude each other");
	if (c->stage_bytes && !c->stage) {
		error_hint(err, "add stage=DIR");
		return error_set(err, -EINVAL, "option stage-size without stage");
	}
	if (c->stage && !source_spec_is_s3(c->source)) {
		error_hint(err, "remove stage and stage-size");
		return error_set(err, -EINVAL,
				 "option stage: %s is a directory; only objects from S3 are staged",
				 c->source);
	}
	if (c->attest == CONFIG_ATTEST_NONE && c->keyfiles.count == 0 &&
	    (tpm_missing(c->tcti) || tpm_is_nsm(c->tcti))) {
		error_hint(err, "add key-file=FILE, or remove attest=none");
		return error_set(
			err, -EINVAL,
			"option attest=none without key-file, and this machine has no TPM: no model "
			"could be unlocked");
	}
	return 0;
}

/* credential:NAME becomes a path. */
static int resolve_files(struct config_list *list, struct error *err)
{
	for (size_t i = 0; i < list->count; i++) {
		char *path = NULL;
		int r = config_credential_path(list->items[i], &path, err);

		if (r < 0)
			return r;
		free(list->items[i]);
		list->items[i] = path;
	}
	return 0;
}

/* From unlock= and measure-when=; `early`: the default is to be ready with measured models. */
static enum config_ready decide_by_old_options(const struct config *c, bool early)
{
	early = early && c->old_unlock != CONFIG_OLD_OPEN;
	if (c->old_measure == CONFIG_OLD_MOUNT || (c->old_measure == CONFIG_OLD_NONE && early))
		return CONFIG_READY_MEASURED;
	return early || c->old_unlock == CONFIG_OLD_MOUNT ? CONFIG_READY_UNLOCKED
							  : CONFIG_READY_OPEN;
}

/*
 * A service, and a mount that is explicitly an Ollama store, measure before they are ready: many
 * may open their models in any order (Ollama opens all of them when it starts).
 */
static int decide_ready(struct config *c, struct error *err)
{
	bool old = c->old_unlock != CONFIG_OLD_NONE || c->old_measure != CONFIG_OLD_NONE;
	bool asked = c->ready == CONFIG_READY_MEASURED || c->old_measure == CONFIG_OLD_MOUNT;

	if (old && c->ready != CONFIG_READY_DEFAULT)
		return error_set(err, -EINVAL,
				 "option ready replaces unlock and measure-when: use ready alone");
	if (asked && c->measure == MEASURE_NONE)
		return error_set(err, -EINVAL,
				 "option ready=measured with measure=none: nothing would be "
				 "measured");
	if (c->ready == CONFIG_READY_DEFAULT)
		c->ready = decide_by_old_options(c, c->is_service || c->ollama == OLLAMA_ON);
	if (c->ready == CONFIG_READY_MEASURED && c->measure == MEASURE_NONE)
		c->ready = CONFIG_READY_UNLOCKED;
	if (old)
		log_warning("options unlock and measure-when will go in the next release; use "
			    "ready=%s",
			    config_word(c, "ready"));
	return 0;
}

/* A mount by root for other users belongs to a group of its own, whose members may read plaintext.
 */
static void share_with_group(struct config *c)
{
	const struct group *g;

	if (!c->allow_other || c->gid_given || geteuid() != 0)
		return;
	g = getgrnam(SERVICE_GROUP);
	if (g)
		c->gid = g->gr_gid;
}

/* What names a set's measurement, id or version can only mean a mount of a set. */
static int decide_set(struct config *c, struct error *err)
{
	bool needed = c->measure == MEASURE_SET || c->set_id || c->set_min_version > 0 || c->oms;
	uint8_t id[SET_ID_SIZE];

	if (c->set == CONFIG_SET_OFF && (needed || c->set_state))
		return error_set(err, -EINVAL,
				 "option set=off excludes measure=set, set-id, set-min-version, "
				 "set-state and oms");
	if (c->set_id && hex_decode(c->set_id, id, sizeof(id)) < 0)
		return error_set(err, -EINVAL,
				 "option set-id=%s: must be the 64 hex digits that sealctl set "
				 "list prints",
				 c->set_id);
	if (!c->oms != !c->oms_key || (c->oms_read && !c->oms)) {
		error_hint(err, "oms names the bundle, oms-key the public key that signs it");
		return error_set(err, -EINVAL,
				 "options oms and oms-key need each other, and oms-read needs "
				 "both");
	}
	if (c->oms && c->oms[0] != '/')
		return error_set(err, -EINVAL, "option oms=%s: must begin with /", c->oms);
	if (needed)
		c->set = CONFIG_SET_REQUIRE;
	if (c->set_state && c->set_state[0] != '/')
		return error_set(err, -EINVAL, "option set-state=%s: must begin with /",
				 c->set_state);
	return 0;
}

/* What attests, and which PCRs it has for models. */
static int decide_module(struct config *c, struct error *err)
{
	bool nsm = tpm_is_nsm(c->tcti);

	if (c->attest == CONFIG_ATTEST_NSM && !nsm && !c->tcti) {
		if (config_set_string(&c->tcti, "nsm") < 0)
			return -ENOMEM;
		nsm = true;
	}
	if (c->attest == CONFIG_ATTEST_NSM && !nsm)
		return error_set(err, -EINVAL, "option attest=nsm: tcti=%s is a TPM", c->tcti);
	if (c->attest == CONFIG_ATTEST_NITROTPM && nsm)
		c->attest = CONFIG_ATTEST_NSM;
	if (!c->pcr_given && nsm)
		c->pcr = PCR_DEFAULT_NSM;
	if (nsm && !pcr_is_allowed_nsm(c->pcr))
		return error_set(err, -EINVAL,
				 "option pcr=%u: must be 16 to 31; in a Nitro Enclave 0 to 15 are "
				 "the image's",
				 c->pcr);
	if (!nsm && !pcr_is_allowed(c->pcr))
		return error_set(err, -EINVAL,
				 "option pcr=%u: must be 0 to 15; software can reset 16 and 23, "
				 "and 17 to 22 belong to the processor",
				 c->pcr);
	if (c->lock_pcr && (!nsm || c->measure == MEASURE_NONE))
		return error_set(err, -EINVAL, "option lock-pcr: %s",
				 nsm ? "with measure=none there is nothing to lock"
				     : "only the PCRs of a Nitro Enclave can be locked");
	return 0;
}

int config_finish(struct config *c, struct error *err)
{
	int r = decide_ready(c, err);

	if (r == 0)
		r = decide_set(c, err);
	if (r == 0)
		r = decide_module(c, err);
	if (r == 0)
		r = config_check_resident(c, err);
	if (r < 0)
		return r;
	/* A mount by root from fstab is for other users, too, as far as mode and group allow. */
	if (c->is_helper && geteuid() == 0 && !c->allow_root)
		c->allow_other = true;
	share_with_group(c);
	r = resolve_files(&c->owner_keys, err);
	if (r == 0)
		r = resolve_files(&c->keyfiles, err);
	if (r == 0 && c->oms_key)
		r = resolve_files(&(struct config_list){&c->oms_key, 1}, err);
	return r < 0 ? r : check_consistency(c, err);
}
