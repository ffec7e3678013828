/*
 * A connection to a TPM. Job: find the TPM, open it through the configured TCTI, wait while another
 * process holds it, have tpm_session.c protect the connection, and explain failures. Trusts
 * tpm2-tss. Must never leave a connection open between jobs, and never let tpm2-tss write to
 * standard error on its own.
 */
#include "attest/nsm.h"
#include "attest/tpm_internal.h"

#include "crypto/base/clock.h"
#include "crypto/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#define OPEN_DEADLINE_MS 30000
#define BUSY_DEADLINE_MS 20000
#define PAUSE_FIRST_MS 5
#define PAUSE_MAX_MS 200
#define DEVICE_PREFIX "device:"

/* tpm2-tss reads this variable at its first message; setting it later would race with getenv(). */
__attribute__((constructor)) static void silence_tss(void)
{
	(void)setenv("TSS2_LOG", "all+NONE", 0);
}

static bool patience_wait(struct tpm_patience *p, unsigned deadline_ms)
{
	if (p->waited_ms >= deadline_ms)
		return false;
	p->pause_ms = p->pause_ms ? MIN(p->pause_ms * 2, PAUSE_MAX_MS) : PAUSE_FIRST_MS;
	monotonic_pause(p->pause_ms);
	p->waited_ms += p->pause_ms;
	return true;
}

static bool is_busy(TSS2_RC rc)
{
	switch (TPM_RC_BASE(rc)) {
	case TPM2_RC_RETRY:
	case TPM2_RC_TESTING:
	case TPM2_RC_YIELDED:
		return true;
	default:
		return false;
	}
}

bool tpm_again(TSS2_RC rc, struct tpm_patience *p)
{
	return is_busy(rc) && patience_wait(p, BUSY_DEADLINE_MS);
}

int tpm_fail(struct error *err, int code, TSS2_RC rc, const char *what)
{
	if (code == -EIO && is_busy(rc))
		code = -EBUSY;
	if (rc == TSS2_ESYS_RC_RSP_AUTH_FAILED) {
		error_set(err, -EBADMSG, "%s: the TPM's answer is not authentic", what);
		error_hint(err, "something between this program and the TPM changes its answers");
		return -EBADMSG;
	}
	return error_set(err, code, "%s: %s (0x%x)", what, Tss2_RC_Decode(rc), (unsigned)rc);
}

/* The kernel's error for a device node that tpm2-tss could not open; 0: it can be opened. */
static int probe_device(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	return fd >= 0 ? 0 : -errno;
}

static int explain_device(const char *path, int code, struct error *err)
{
	switch (code) {
	case -ENOENT:
	case -ENXIO:
	case -ENODEV:
		return error_set(err, -ENODEV, "no TPM at %s", path);
	case -EBUSY:
		error_set(err, -EBUSY, "the TPM at %s stayed busy for %d seconds", path,
			  OPEN_DEADLINE_MS / 1000);
		error_hint(err, "another program holds it; use /dev/tpmrm0, which can be shared");
		return -EBUSY;
	case -EACCES:
	case -EPERM:
		error_set(err, code, "the TPM at %s may not be opened: %s", path, strerror(-code));
		error_hint(err, "run as root or as a member of the group that owns %s", path);
		return code;
	default:
		return error_set(err, code ? code : -EIO, "the TPM at %s cannot be opened: %s",
				 path, code ? strerror(-code) : "tpm2-tss refused it");
	}
}

/* NULL: another kind of connection. */
static const char *device_path(const char *conf)
{
	size_t prefix = strlen(DEVICE_PREFIX);

	return strncmp(conf, DEVICE_PREFIX, prefix) == 0 ? conf + prefix : NULL;
}

static int open_tcti(const char *conf, TSS2_TCTI_CONTEXT **ret, struct error *err)
{
	const char *path = device_path(conf);
	struct tpm_patience p = {0};

	for (;;) {
		TSS2_RC rc = Tss2_TctiLdr_Initialize(conf, ret);
		int r;

		if (rc == TSS2_RC_SUCCESS)
			return 0;
		if (!path) {
			tpm_fail(err, -ENODEV, rc, "cannot reach a TPM");
			return error_prefix(err, -ENODEV, "TCTI \"%s\"", conf);
		}
		r = probe_device(path);
		if ((r != 0 && r != -EBUSY) || !patience_wait(&p, OPEN_DEADLINE_MS))
			return explain_device(path, r, err);
	}
}

const char *tpm_choose(const char *given)
{
	static const char *const variables[] = {"SEALEDFS_TCTI", "TPM2TOOLS_TCTI"};

	if (given && *given)
		return given;
	for (size_t n = 0; n < ARRAY_LEN(variables); n++) {
		const char *value = getenv(variables[n]);

		if (value && *value)
			return value;
	}
	if (access("/dev/tpmrm0", F_OK) == 0)
		return DEVICE_PREFIX "/dev/tpmrm0";
	if (access("/dev/tpm0", F_OK) == 0)
		return DEVICE_PREFIX "/dev/tpm0";
	return access(nsm_path("nsm"), F_OK) == 0 ? "nsm" : NULL;
}

bool tpm_is_nsm(const char *tcti)
{
	return nsm_is_conf(tpm_choose(tcti));
}

static int connect_tpm(struct tpm *t, struct error *err)
{
	TSS2_RC rc;
	int r = open_tcti(t->conf, &t->tcti, err);

	if (r < 0)
		return r;
	rc = Esys_Initialize(&t->esys, t->tcti, NULL);
	if (rc != TSS2_RC_SUCCESS)
		return tpm_fail(err, -EIO, rc, "cannot talk to the TPM");
	return tpm_session_start(t, err);
}

static void disconnect_tpm(struct tpm *t)
{
	if (t->esys) {
		tpm_session_end(t);
		Esys_Finalize(&t->esys);
	}
	if (t->tcti)
		Tss2_TctiLdr_Finalize(&t->tcti);
	tpm_flush_left(t);
}

int tpm_reopen(struct tpm *t, struct error *err)
{
	disconnect_tpm(t);
	return connect_tpm(t, err);
}

const char *tpm_missing(const char *tcti)
{
	const char *conf = tpm_choose(tcti), *path;

	if (!conf)
		return "/dev/tpmrm0";
	path = nsm_is_conf(conf) ? nsm_path(conf) : device_path(conf);
	return path && access(path, F_OK) < 0 ? path : NULL;
}

int tpm_open(const char *tcti, struct tpm **ret, struct error *err)
{
	_cleanup_tpm_ struct tpm *t = NULL;
	const char *conf = tpm_choose(tcti);
	int r;

	if (!conf) {
		error_set(err, -ENODEV, "this machine has no TPM (no /dev/tpmrm0, no /dev/tpm0)");
		error_hint(err,
			   "on EC2, register the AMI with TPM support v2.0 and UEFI boot; to mount "
			   "without a TPM: key-file=FILE,attest=none,measure=none");
		return -ENODEV;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return error_set(err, -ENOMEM, "out of memory");
	t->key = t->session = ESYS_TR_NONE;
	t->conf = strdup(conf);
	if (!t->conf)
		return error_set(err, -ENOMEM, "out of memory");
	t->nsm = nsm_is_conf(conf);
	r = t->nsm ? 0 : connect_tpm(t, err);
	if (r < 0)
		return r;
	log_debug("TPM opened through %s", conf);
	*ret = steal_ptr(t);
	return 0;
}

void tpm_close(struct tpm *t)
{
	if (!t)
		return;
	disconnect_tpm(t);
	free(t->conf);
	free(t);
}
