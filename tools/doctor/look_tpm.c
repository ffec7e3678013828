/*
 * Findings: the TPM, who may use it, its banks, what died processes left in it, and whether the PCR
 * of the models has a value that the log explains. Never extends anything.
 */
#include "attest/event_log.h"
#include "attest/mailbox.h"
#include "attest/runtime_dir.h"
#include "tools/doctor/doctor.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GROUP_TSS "tss"
#define LEFTOVERS_MAX 64
#define EXCHANGE_S 2 /* one takes less */

static bool is_needed(const struct doctor *d)
{
	return d->has_config &&
	       (d->config.measure != MEASURE_NONE || d->config.keyfiles.count == 0);
}

/* The number of the group of the machine or tree. False: there is none. */
static bool find_group(const struct doctor *d, const char *name, gid_t *ret)
{
	char text[65536], *rest = text, *line;

	if (doctor_read(d, "/etc/group", text, sizeof(text)) < 0)
		return false;
	while ((line = doctor_line(&rest)) != NULL) {
		const char *found = strsep(&line, ":");

		if (strcmp(found, name) != 0 || !line || !strsep(&line, ":") || !line)
			continue;
		*ret = (gid_t)strtoul(line, NULL, 10);
		return true;
	}
	return false;
}

static void look_group(struct doctor *d)
{
	gid_t tss = 0;
	bool known = find_group(d, GROUP_TSS, &tss);
	struct stat st;

	if (doctor_unit(d, "sealedfs@.service") && !known)
		doctor_find(d, FINDING_TPM_GROUP, "there is no group " GROUP_TSS);
	if (doctor_stat(d, "/dev/tpmrm0", &st) < 0 || !known)
		return;
	if (st.st_gid != tss || (st.st_mode & 0060) != 0060)
		doctor_find(d, FINDING_TPM_GROUP,
			    "/dev/tpmrm0 belongs to group %u, with mode %04o; " GROUP_TSS " is %u",
			    (unsigned)st.st_gid, (unsigned)st.st_mode & 07777, (unsigned)tss);
}

static void look_banks(struct doctor *d, struct tpm *t, unsigned pcr)
{
	struct pcr_values values;
	struct error e = {0};
	char names[128] = "";
	bool sha384 = false;
	int r = pcr_read(t, pcr, &values, &e);

	if (r == -EOPNOTSUPP) {
		doctor_find(d, FINDING_TPM_BANKS, "%s", e.message);
		return;
	}
	if (r < 0) {
		doctor_find(d, FINDING_TPM_ACCESS, "PCR %u cannot be read: %s", pcr,
			    error_text(&e, r));
		return;
	}
	for (size_t i = 0; i < values.bank_count; i++) {
		size_t used = strlen(names);

		(void)snprintf(names + used, sizeof(names) - used, " %s",
			       digest_name(values.banks[i].alg));
		sha384 = sha384 || values.banks[i].alg == DIGEST_SHA384;
	}
	if (sha384)
		doctor_note(d, "active banks:%s", names);
	else
		doctor_find(d, FINDING_TPM_BANKS, "no bank sha384 is active; active are:%s",
			    values.bank_count ? names : " none");
}

static void look_leftovers(struct doctor *d, struct tpm *t)
{
	uint32_t before[LEFTOVERS_MAX], after[LEFTOVERS_MAX] = {0};
	size_t count = 0, left = 0;
	struct error e = {0};
	int r = mailbox_list(t, before, LEFTOVERS_MAX, &count, &e);

	if (r == 0 && count > 0) {
		(void)nanosleep(&(struct timespec){.tv_sec = EXCHANGE_S}, NULL);
		r = mailbox_list(t, after, LEFTOVERS_MAX, &left, &e);
	}
	if (r < 0)
		doctor_skip(d, "mailboxes in the TPM: %s", error_text(&e, r));
	/* What is there both times is in nobody's use. */
	for (size_t i = 0; r == 0 && i < count; i++)
		for (size_t k = 0; k < left; k++)
			if (before[i] == after[k])
				doctor_find(d, FINDING_TPM_LEFTOVER,
					    "NV index 0x%08x is a mailbox that nobody uses",
					    before[i]);
}

/* Without a log only zero, or what systemd has logged, is explained. */
static void look_pcr_alone(struct doctor *d, struct tpm *t, unsigned pcr)
{
	struct pcr_values now, logged;

	if (pcr_read(t, pcr, &now, NULL) < 0 || pcr_values_zero(&now))
		return;
	logged = now;
	if (event_log_replay_foreign(SYSTEMD_LOG, &logged) < 0 || !pcr_values_equal(&now, &logged))
		doctor_find(d, FINDING_PCR_FOREIGN,
			    "PCR %u is not zero, and no log says what was extended", pcr);
}

static void look_pcr(struct doctor *d, struct tpm **t, unsigned pcr)
{
	char path[PATH_MAX];
	const struct measure_options options = {
		.pcr = pcr, .log_path = path, .tcti = d->config.tcti};
	struct error e = {0};
	int r;

	if (d->config.event_log)
		(void)snprintf(path, sizeof(path), "%s", d->config.event_log);
	else
		(void)snprintf(path, sizeof(path), "%s/" EVENT_LOG_NAME, runtime_dir());
	if (access(path, F_OK) < 0) {
		look_pcr_alone(d, *t, pcr);
		return;
	}
	if (access(path, R_OK | W_OK) < 0) {
		doctor_skip(d, "whether %s explains PCR %u: %s", path, pcr, strerror(errno));
		return;
	}
	tpm_close(*t);
	*t = NULL;
	/* As a mount does it, without an event. */
	r = measure_models(&options, NULL, 0, &e);
	if (r == -EKEYREJECTED)
		doctor_find(d, FINDING_PCR_FOREIGN, "%s", e.message);
	else if (r < 0)
		doctor_skip(d, "whether %s explains PCR %u: %s", path, pcr, error_text(&e, r));
	else
		doctor_note(d, "PCR %u has the value that %s explains", pcr, path);
}

void doctor_look_tpm(struct doctor *d)
{
	const unsigned pcr = d->has_config ? d->config.pcr : PCR_DEFAULT;
	const char *missing = d->live ? tpm_missing(d->config.tcti) : NULL;
	struct tpm *t = NULL;
	struct error e = {0};
	int r;

	look_group(d);
	if (!d->live) {
		doctor_skip(d, "the TPM: a tree has none");
		return;
	}
	if (missing && is_needed(d))
		doctor_find(d, FINDING_TPM_MISSING, "there is no %s", missing);
	else if (missing)
		doctor_note(d, "there is no TPM (%s)", missing);
	if (missing)
		return;
	r = tpm_open(d->config.tcti, &t, &e);
	if (r < 0) {
		doctor_find(d, FINDING_TPM_ACCESS, "%s", error_text(&e, r));
		return;
	}
	look_banks(d, t, pcr);
	look_leftovers(d, t);
	look_pcr(d, &t, pcr);
	tpm_close(t);
}
